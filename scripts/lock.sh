#!/bin/sh
# Resolves the dependencies into requirements/*.txt: exact versions with hashes, for every platform and Python from 3.11
# on, and without a word about the package index they came from.
set -eu
uv=$1
compile() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-header --no-annotate --upgrade "$@"; }
echo "uv" | compile - -o requirements/tools.txt
printf "hatchling\neditables\n" > requirements/.build.in
compile pyproject.toml requirements/.build.in -o requirements/run.txt
compile pyproject.toml requirements/.build.in --group dev -c requirements/run.txt -o requirements/dev.txt
rm -f requirements/.build.in
# What the SDK's tests run on, each in an environment of its own: the oldest LiteLLM that is supported, and the newest.
# Before 1.81 its own worker may hang at the end of a program, on Python 3.11. It reads its cache only where three of its
# proxy's dependencies are installed.
for version in "oldest litellm==1.81.0" "newest litellm"; do
    printf "%s\nasyncpg\nmsgspec\npyyaml\nfastapi\norjson\nsoundfile\nredis\n" "${version#* }" |
        compile - -c requirements/run.txt -o "requirements/litellm-${version%% *}.txt"
done
