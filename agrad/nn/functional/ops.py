"""The ops of the rule set `nn`, each following the backend of its arrays.

`agrad.nn` itself is the package of layers.
"""

from agrad.namespaces import Prefix

nn = Prefix("nn.")
