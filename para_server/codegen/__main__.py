"""Write or check the files that come from the tables: `python -m para_server.codegen`."""

import sys

from para_server.codegen.reference import main

sys.exit(main(sys.argv[1:]))
