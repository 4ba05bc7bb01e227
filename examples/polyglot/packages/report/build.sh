set -eu
mkdir -p dist
rustc --edition 2021 -O src/main.rs -C link-arg=../tally/dist/tally.o -o dist/report
