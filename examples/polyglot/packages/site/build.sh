set -eu
mkdir -p dist
../report/dist/report text/*.txt | awk -f page.awk > dist/index.html
