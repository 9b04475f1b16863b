"""Write or check the generated files: `python -m para_server.codegen [--check]`."""

import sys

from para_server.codegen.reference import main

sys.exit(main(sys.argv[1:]))
