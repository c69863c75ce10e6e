"""Looking at what a method does: pictures of what a model is given, asked and allowed to see."""
