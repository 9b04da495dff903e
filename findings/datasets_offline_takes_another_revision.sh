#!/usr/bin/env bash
# datasets 5.2.0 without its hub (HF_HUB_OFFLINE=1, or a hub that cannot be reached) gives the data set that it has in its
# cache under that name, whatever revision it was asked for: load_dataset(name, revision=B) returns commit A, with a line
# in its log that names no revision. Expected before: a revision that is not in the cache is an error.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet datasets==5.2.0
export HF_HOME="$folder/home" HF_HUB_OFFLINE=1
cat > "$folder/ask.py" <<'PYTHON'
import sys
from pathlib import Path

import datasets
from datasets.packaged_modules.json.json import Json

folder, kept, other = Path(sys.argv[1]), "a" * 40, "b" * 40
(folder / "rows.jsonl").write_text('{"text": "of commit a"}\n')
# What the library leaves behind where it fetched commit a of somebody/small.
builder = Json(dataset_name="small", config_name="default", hash=kept, data_files={"train": str(folder / "rows.jsonl")})
builder.download_and_prepare(str(Path(datasets.config.HF_DATASETS_CACHE) / "somebody___small/default/0.0.0" / kept))
print(datasets.load_dataset("somebody/small", split="train", revision=other)["text"][0])
PYTHON
told="$("$folder/venv/bin/python" "$folder/ask.py" "$folder" 2> /dev/null)"
echo "asked for commit b, given text $told"
[[ $told == "of commit a" ]]
