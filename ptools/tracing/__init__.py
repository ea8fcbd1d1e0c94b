"""What size comes out of a layer, and (with PyTorch) of a whole model.

No torch at the top:
  sizes, inverse   the arithmetic of one layer, and which layer gives a size
  inputs           what goes in: `3x32x32`, `16:int64`
  reading, layers, chains, filling
                   layers as text: read, parsed, built, `?` filled in, repaired
With torch:
  study            does this model take this input? everything below, in order
  build            a model on the meta device, whatever its constructor does
  trace, macs      a dry run: every layer's output, parameters, MACs, memory
  field (fieldstate, fieldrules, fieldreads, fieldmoves)
                   receptive fields, through branches
  graph            the graph for TensorBoard
  lazy             keeps torch.compile from being imported for nothing
  repair/          why it does not fit, and the repair, tried before it is told
"""
