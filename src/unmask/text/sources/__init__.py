"""Files of any kind to documents, sentences, labelled rows and columns of words."""
