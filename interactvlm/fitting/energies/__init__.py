"""Terms of the joint reconstruction's energy E (paper section 5): one a file, each [S, K] of S scenes x K starts."""
