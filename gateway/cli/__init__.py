"""The command line: `trunkline`. Each command is a thin function in `app`; its work stands in a module of its own."""
