"""What a person types: a word names a command, a command is one config and its `run()`.

The folder is the registry: `pretrain.py` holds ``class Pretrain(Config)``, whose fields are the options, whose
``positional`` names those that need no ``--name``, and whose ``run()`` does the work and returns one named thing.
"""
