"""What a program can ask of the auditor; the command line asks the same. `import auditor` offers the public part."""
