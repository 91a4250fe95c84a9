"""Commands about what this machine has and could have: `zoo lock`, `zoo cache`."""
