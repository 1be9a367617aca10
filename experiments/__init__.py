"""Everything with side effects: experiments, their run directories, data loaders and command-line tools."""
