# overrides the globals of train.py: a file of settings, then --key=value
import sys
from ast import literal_eval

for arg in sys.argv[1:]:
    if "=" not in arg:
        exec(open(arg).read())
    else:
        key, value = arg.removeprefix("--").split("=", 1)
        try:
            globals()[key] = literal_eval(value)
        except (SyntaxError, ValueError):
            globals()[key] = value
