"""``python -m antifragile``, and the ``antifragile`` command; quiet on Ctrl-C while importing."""

import sys

try:
    from antifragile.cli.main import main
except KeyboardInterrupt:
    print("interrupted; run the same command again to go on.", file=sys.stderr)
    sys.exit(130)

if __name__ == "__main__":
    main()
