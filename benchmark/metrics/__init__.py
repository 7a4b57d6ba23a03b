"""What a figure is and how sure it is: rank metrics that are exact under ties, intervals and tests by clusters."""
