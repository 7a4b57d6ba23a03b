"""What is ranked and the scores that it got: tasks, blocks of scores, score rules, the swapped clips of the gains."""
