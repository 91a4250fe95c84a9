"""Access to the methods of the wire: which scope each needs, whose call it is, and what is recorded of it.

method_scopes.py   method → scopes that permit it
guard.py           `Guard`: admits each call, on either frontend
audited.py         method → what the audit log says of its object
"""
