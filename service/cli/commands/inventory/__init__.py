"""Commands about what this machine has and could have: `zoo search`, `zoo lock`, `zoo cache`."""
