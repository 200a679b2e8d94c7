"""What the tests share: made-up noise, files, real data, the command, and brute-force references."""
