#!/bin/sh
# Lays out the pages of the book in a folder, as in the repository, so that links between docs/ and the pages around it
# hold: sh docs/book.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
to=$1
rm -rf "$to"
mkdir -p "$to"
for file in docs/*.md docs/*.svg *.md results/*.md results/*/*.md results/*/*.png examples/*.rs CITATION.cff; do
  mkdir -p "$to/$(dirname "$file")"
  case $file in
    # mdbook makes a README the index.html of its folder, and does not follow links to it.
    *.md) sed -e 's|](\([^):]*\)README\.md|](\1index.md|g' "$file" > "$to/$file" ;;
    *) cp "$file" "$to/$file" ;;
  esac
done
# mdbook wants the table of contents at the top.
sed -e 's|](\([a-z-]*\.md\))|](docs/\1)|' -e 's|](README.md)|](docs/README.md)|' docs/SUMMARY.md > "$to/SUMMARY.md"
rm "$to/docs/SUMMARY.md"
cat >> "$to/SUMMARY.md" <<'MD'

# The project

- [README](README.md)
- [Results](results/README.md)
- [Contributing](CONTRIBUTING.md)
- [Changelog](CHANGELOG.md)
MD
