"""Why a model does not take its input, and the repair, tried before it is told.

values      what is found: Failure, Fix
sources     the user's files: expressions, edits, a model built from edited text
witness     a second run that remembers who made each tensor
contracts   what each layer of torch.nn takes
case        one failure, and how to edit what made it
rules       from a failure to repairs worth trying, the likeliest first
adapt       repairs on the data's side
silent      wrong without an exception
loss        output and target do not go together
diagnose    all of it: from an Answer to a Failure
"""
