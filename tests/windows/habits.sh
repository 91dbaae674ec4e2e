# Sourced by tests/windows.sh: what Windows does in another way than other systems.

drive=$WINEPREFIX/drive_c
user=$(ls -d "$drive"/users/* | grep -v Public | head -n 1)
limit=120

# A tier that FXC has not, in one line, before anything is loaded.
run generate --adapter dx12 --tier dot --prompt hello
expect 2 "strongest that" "is plain" "FXC" "put dxcompiler.dll into Z:\\"

# Names that are devices wait for nobody.
run generate --messages nul
expect 2 "nul: NUL is a device of Windows"
run generate --messages 'C:\con.json'
expect 2 "CON is a device of Windows"
run logits --ids 2,5 --output aux
expect 2 "AUX is a device of Windows"
run inspect --model 'COM1'
expect 3 'model "COM1": is a device of Windows'
run inspect --model 'C:\no\thing'
expect 3 'model "C:\no\thing": does not exist'

# A model in a folder with a long and foreign name, then with an index that names a device. More than 260 letters, which Windows
# allows, are too many for Wine to tell a file's whole name.
long=$(printf '%085d' 0 | tr 0 n)
model="$drive/модель/$long/$long"
mkdir -p "$model"
cp examples/demo-model/*.json examples/demo-model/*.jinja examples/demo-model/model.safetensors "$model/"
inside="C:\\модель\\$long\\$long"
run inspect --model "$inside"
expect 0 "модель"
mv "$model/model.safetensors" "$model/nul.safetensors"
printf '{"weight_map": {"model.embed_tokens.weight": "nul.safetensors"}}' >"$model/model.safetensors.index.json"
run inspect --model "$inside"
expect 3 "NUL is a device of Windows"
rm "$model/model.safetensors.index.json"
mv "$model/nul.safetensors" "$model/model.safetensors"

# A file that is still being written is not read.
x86_64-w64-mingw32-gcc -O1 -o "$windows/run/writer.exe" tests/windows/writer.c
mkdir -p "$drive/m"
cp "$model"/* "$drive/m/"
rm -f "$windows/pipe"
mkfifo "$windows/pipe"
on_windows 60 "$windows/run/writer.exe" 'C:\m\model.safetensors' <"$windows/pipe" >"$windows/opened" 2>/dev/null &
exec 9>"$windows/pipe"
tries=0
while ! grep -qs open "$windows/opened" && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
run inspect --model 'C:\m'
expect 3 'C:\m' "(os error 32)"
exec 9>&-
wait $! || fail "the program that has the file open"
run inspect --model 'C:\m'
expect 0

# Logits over a file that is there; nothing half written stays.
run logits --adapter vulkan --ids 2,5 --output 'C:\m\logits.safetensors'
expect 0
run logits --adapter vulkan --ids 2,5 --output 'C:\m\logits.safetensors'
expect 0
! ls -A "$drive/m" | grep part || fail "a part of a file is left"

# Two first starts at once: one checks, the other waits for what it finds; nothing of it is left but the record and pipelines.
cache=$user/AppData/Local/lapidary
ls "$cache"/doctor-*.json >/dev/null 2>&1 || fail "no record in LOCALAPPDATA"
rm -rf "$cache"
lapidary generate --adapter vulkan --ids 2,5 --max-tokens 1 >/dev/null 2>"$windows/first" &
lapidary generate --adapter vulkan --ids 2,5 --max-tokens 1 >/dev/null 2>"$windows/second" || fail "the second of two starts"
wait $! || fail "the first of two starts"
[ "$(cat "$windows/first" "$windows/second" | grep -c 'first start on')" = 1 ] || fail "two starts checked at once"
grep -q 'waiting for the checks' "$windows/first" "$windows/second" || fail "neither start waited for the other"
! ls "$cache" | grep -E 'begun|part' || fail "something is left of the checks"

# A prompt out of a pipe, with Windows' line ends.
printf 'What does\nVec::push do?\n' | lapidary generate --adapter vulkan --max-tokens 24 --temperature 0 >"$windows/lf" 2>/dev/null
printf 'What does\r\nVec::push do?\r\n' | lapidary generate --adapter vulkan --max-tokens 24 --temperature 0 >"$out" 2>"$err"
cmp "$out" "$windows/lf" || fail "carriage returns reach the model"

# A library in the current folder is not taken, one beside the program is, and a broken one is said and done without.
mkdir -p "$windows/elsewhere"
echo junk >"$windows/elsewhere/dxcompiler.dll"
(cd "$windows/elsewhere" && lapidary devices >"$out" 2>"$err") || fail "devices, elsewhere"
grep -qF "put dxcompiler.dll into Z:\\" "$out" || fail "a library of the current folder was looked at"
echo junk >"$windows/run/dxcompiler.dll"
run devices --adapter dx12
expect 0 "dxcompiler.dll cannot be used"
# Microsoft's own: this DX12 has no shader model 6, so FXC goes on.
cp "$dlls/dxcompiler.dll" "$windows/run/"
run devices --adapter dx12
expect 0 "dxcompiler.dll cannot be used"
rm "$windows/run/dxcompiler.dll"
# Without any compiler.
rm -f "$windows/run/d3dcompiler_47.dll" "$drive/windows/system32/d3dcompiler_47.dll"
run devices --adapter dx12
expect 4 "DX12 has no compiler for shaders"
cp "$dlls/d3dcompiler_47.dll" "$windows/run/"

# At a console: letters of all kinds, colours unless NO_COLOR says otherwise, and Ctrl-C.
if command -v script >/dev/null 2>&1; then
    at_console() {
        VK_DRIVER_FILES="${icd#"$root"}" timeout 120 script -qec "'$windows/wine' '$windows/run/lapidary.exe' $1" /dev/null >"$out" 2>"$err"
    }
    { sleep 6; printf 'Grüße, 日本\r'; sleep 8; printf '/exit\r'; sleep 2; } | at_console "chat --adapter vulkan" || fail "chat at a console"
    # The console moves its cursor between letters.
    sed 's/\x1b\[[?0-9;]*[A-Za-z]//g' "$out" | grep -q '>>> *Grüße' || fail "the console does not show what was typed"
    { sleep 4; printf '\003'; sleep 4; } | at_console "bench --adapter vulkan --repeats 20" && fail "Ctrl-C does not end it" || code=$?
    printf '\n> lapidary bench, then Ctrl-C\n(exit code %s)\n' "$code"
    [ "$code" = 130 ] || fail "Ctrl-C ends with $code, expected 130"
else
    not_run "Windows: a console, which needs script (bsdutils)"
fi
