"""One file for each network: from the files of its package to a folder of its makers' library."""
