"""Which text a step is made of: documents cut to slots, laid to rows, made sequences."""
