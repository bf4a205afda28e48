# A quantizer of `method: external` that does nothing: it answers with the weights as they are.
field() {
  value=${line#*\"$1\":\"}
  value=${value%%\"*}
}
while read -r line; do
  case $line in
    *'"type":"hello"'*) echo '{"type":"hello","protocol":1,"name":"copy","version":"1","wants":[]}' ;;
    *'"type":"quantize"'*)
      field weights
      weights=$value
      field output
      cp "$weights" "$value"
      echo '{"type":"done"}'
      ;;
    *'"type":"bye"'*) exit 0 ;;
    *) echo '{"type":"done"}' ;;
  esac
done
