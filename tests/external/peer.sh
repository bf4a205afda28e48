# Answers with what stands in the folder $1, whatever is asked: `hello`, then the file `output` and the line `answer`.
read -r line
[ ! -f "$1/hello" ] || cat "$1/hello"
read -r line
value=${line#*\"output\":\"}
value=${value%%\"*}
[ ! -f "$1/output" ] || cp "$1/output" "$value"
[ ! -f "$1/answer" ] || cat "$1/answer"
[ ! -f "$1/stays" ] || sleep 86399
