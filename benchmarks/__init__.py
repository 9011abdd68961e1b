"""Every performance figure of the README, one command each."""
