"""What a run does, from what it is given to the page it leaves."""
