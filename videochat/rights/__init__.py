"""What people and the law are owed: a rights record, forgetting, expiry, and data sets published as ids."""
