set -eu
mkdir -p dist
cc -O2 -Wall -Wextra -c src/tally.c -o dist/tally.o
