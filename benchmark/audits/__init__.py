"""What is checked before a number is printed: the gate, leaks between splits, candidate sets, features; and the lag."""
