// Writes table.jsonl: what kubectl's YAML modules make of scalars, documents and streams.
//
//	cd tests/trainer/contract/yaml_table && go run . > table.jsonl
//
// One JSON object a line: the text of a "document" (sigs.k8s.io/yaml, YAMLToJSON) or of a "stream"
// (k8s.io/apimachinery/pkg/util/yaml, YAMLOrJSONDecoder: how `kubectl apply -f` reads a file); its "json" (a stream's is the
// array of its documents) or its "error"; "strict" is the error of YAMLToJSONStrict, which refuses keys given twice, where
// YAMLToJSON has none; "rest" says that more text follows the one document that is read.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand"
	"os"
	"strings"
	"unicode/utf8"

	goyaml "go.yaml.in/yaml/v2"
	kubernetes "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

var scalars = strings.Fields(`
0 1 -1 +1 -0 +0 00 01 07 08 09 017 018 0o17 0O17 0o8 -0o17 +0o17 0x1F 0X1f -0x1F +0x1F 0x 0xg 0b101 0B101 -0b101 +0b101 0b2 0b
-017 +017 0_17 0x_1F 0b_1 0b1_0 0x1_F -0b1_1 0o1_7 0o_17
1_000 1__000 1_ _1 -_1 +_1 1_000.5 1_0.5_0 1_0e1_0 1,000 1.000.000 1e3_
1. .5 -.5 +.5 . .. ... .e3 1.e3 1.5 -1.5 +1.5 01.5 00.5 08.5 1.0 -1.0 0.0 -0.0 +0.0 100.0 0.1 0.30000000000000004
1e3 1E3 1e+3 1e-3 1E-3 +1e-3 -1e-3 1e 1e+ e3 1e3.5 1.5e3 1.5e-7 .5e1 5e-324 4.9e-324 1e-400 1e400 -1e400 1e308 1.7976931348623157e308 1e309
1e6 1e-6 1e-7 1e20 1e21 1e22 123456789.0 12345678.9 1234567.0 0.0001 0.00001 16777217.0 3.4e38 3.5e38 1e-46
9007199254740991 9007199254740992 9007199254740993 9007199254740993.0 -9007199254740993
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551615 18446744073709551616
123456789012345678901234567890 -123456789012345678901234567890 0xFFFFFFFFFFFFFFFF 0x10000000000000000 -0x8000000000000000
01777777777777777777777 02000000000000000000000 0b1111111111111111111111111111111111111111111111111111111111111111
0x1p4 0x1.8p1 -0x1p-2 0x1p 1p4 0x.8p1 .5p1 .0x1 ._5 .1_0 .1e5 .5e .e .1.2
.inf .Inf .INF +.inf +.Inf +.INF -.inf -.Inf -.INF .iNF inf Inf INF +inf -inf infinity Infinity -Infinity
.nan .NaN .NAN .Nan nan NaN NAN -.nan +.nan .infinity .i .n
y Y n N yes Yes YES yEs no No NO nO on On ON oN off Off OFF oFF true True TRUE tRUE false False FALSE fALSE t f T F yess
~ null Null NULL nULL nil none None ~~ nulls
12:30 1:30 12:30:45 12:30:45.5 -12:30 0:0 1:60 190:20:30 190:20:30.15 00:00 24:00:00
2026-11-28 2026-1-2 2026-11-28T10:00:00Z 2026-11-28t10:00:00z 2026-11-28T10:00:00+01:00 2026-11-28T10:00:00.123456789Z 2026-13-45 2026-11-31
2026-11 2026 26-11-28 0001-01-01 0000-00-00 20261128 2026/11/28 2026-11-28Z
= < << <<< > | - -- --- ? : , [] {} [ ] { } & * ! % @ # a:b a: :a ::: http://x:80/y s3://bucket/a#b a#b -a ?a :- -: &a *a !a %a @a
a,b 1,2 a[b a{b a]b a}b 3d_fullres 2d 0a 1a 1.2.3 1.2.3.4 v1 1Gi 16Gi 500m 1/2 50% +a -1a 1-2 1+2 0-1 --1 ++1 +-1 -+1 - -1-
ü é ß 日本 😀 ١ ½ ² Ⅷ １２ ∞ a\nb \n \t
"" '' "1" '1' "yes" 'null' "~" "1e3" "a\nb" 'a''b' "\x41" "\u00fc" "\U0001F600" "\ud83d" "\/" "\e" "\q" "\0" "\_" "\N" "\L" "\P"
`)

var spaced = []string{
	"", " ", "1 2", "a b", "1 #c", "1#c", "2026-11-28 10:00:00", "2026-11-28 10:00:00.5", "2026-11-28  10:00:00", "2001-12-14 21:59:43.10 -5",
	"- 1", "? 1", ": 1", "1 000", "+ 1", "- - 1", "a: b", "a : b", "[1, 2]", "{a: 1}", "[a, ]", "[, a]", "{a, b}", "{a: 1, a: 2}",
	"[1e3, 1e-3, 012, yes, ~, ]", "{1: a, 1.5: b, yes: c}", "{~: a}", "{null: a}", "{? a : b}", "[a: b, c]", "{a:1}", "{\"a\":1}", "[a,b]", "{a: }",
	"! 12", "! \"12\"", "! a", "!!str", "!!null", "!!null ''", "!!int", "!local 12", "!local [1, 2]", "!local {a: 1e3}", "!<tag:yaml.org,2002:int> 12",
	"!<tag:yaml.org,2002:str> 12", "!!foo 12", "!!set {a, b}", "!!omap [a: 1, b: 2]", "!!pairs [a: 1, a: 2]", "!!seq [1]", "!!map {a: 1}", "!!map [1]", "!!seq {a: 1}",
	"!!binary aGk=", "!!binary 'aGk='", "!!binary aGk", "!!binary /w==", "!!binary ''", "!!timestamp 2026-11-28", "!!timestamp x", "!!merge <<", "!!value =",
	"!!python/object/apply:os.system [x]", "!!python/name:os.system ''", "&x 1", "&x", "&x [1, *x]", "*x", "&x !!str 1", "!!str &x 1", "\"1\" 2", "'a", "\"a",
	"|\n  x", ">\n  x", "|-\n  1", ">-\n  1\n  2", "|+\n  1\n\n", "|2\n   x", "|\n", "!!int |-\n  12", "!!int >-\n  1\n  2", "!!bool |-\n  yes",
	"a\n  b", "1\n  2", "1\n  .5", "\n  1", "\n  - 1\n  - 2", "\n  b: 1e3", "a\n b: c", "\t1", "1\t", "\"a\tb\"", "a\tb", "'a\n  b'", "\"a\\\n  b\"",
}

var documents = []string{
	"", "\n", "# only a comment\n", "---\n", "---", "---\n---\n", "...\n", "---\n...\n", "--- # comment\na: 1\n", "--- a\n", "--- {a: 1}\n", "---a\n", "--- |\n  x\n",
	"a: 1", "a: 1\n", "a: 1\n...\n", "a: 1\n---\n", "a: 1\n---\nb: 2\n", "a: 1\n...\n---\nb: 2\n", "a: 1\n...\nb: 2\n", "a: 1\n--- \nb: 2\n", "a: 1\n---#x\nb: 2\n", "a: 1\n--- #x\nb: 2\n",
	"%YAML 1.1\n---\na: yes\n", "%YAML 1.2\n---\na: yes\n", "%TAG ! tag:x,2000:\n---\na: !b 1\n", "%FOO bar\n---\na: 1\n",
	"1\n", "text\n", "'quoted'\n", "[1, 2]\n", "- 1\n- 2\n", "- - 1\n  - 2\n-\n- a: 1\n  b: 2\n", "{}\n", "[]\n", "~\n", "null\n", "12:30\n", "2026-11-28\n",
	"a: 1\na: 2\n", "a: {b: 1, b: 2}\n", "- {b: 1, c: 2, b: 3}\n", "1: a\n1: b\n", "1: a\n0x1: b\n", "yes: a\non: b\n", "a: 1\nb: 2\n\"a\": 3\n",
	"base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n", "base: &b {x: 1, y: 2}\nd:\n  y: 3\n  <<: *b\n", "base: &b {x: 1}\nd:\n  <<: *b\n  z: 3\n", "d: {<<: {x: 1}, y: 2}\n", "d: {<<: [{x: 1}, {x: 2, y: 3}]}\n",
	"a: &a {x: 1}\nb: &b {x: 2, y: 2}\nd: {<<: [*a, *b], z: 3}\n", "d: {<<: 1}\n", "d: {<<: ~}\n", "d: {<<: [1]}\n", "d: {<<: []}\n", "a: &a [1]\nd: {<<: *a}\n", "d: {\"<<\": 1}\n", "d: {'<<': {x: 1}}\n", "d: {!!merge <<: {x: 1}}\n", "d: {! <<: {x: 1}}\n", "d: {!!str <<: {x: 1}}\n",
	"a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n", "a: &a {<<: *a}\n", "d: {<<: {x: 1}, <<: {y: 2}}\n", "d: {<<: {x: 1}, <<: {x: 2}}\n", "base: &b {x: {p: 1}}\nd: {<<: *b, x: {q: 2}}\n", "a: <<\n", "- <<\n", "<<: {a: 1}\n",
	"a: &x 1e3\nb: *x\n", "a: &x {y: 1}\nb: *x\nc: *x\n", "a: &x 1\na2: &x 2\nb: *x\n", "b: *x\na: &x 1\n", "a: &x\n  b: *x\n", "&x a: *x\n", "&k 1.5: a\nb: *k\n", "a: &k 1e7\n*k : v\n", "a: &k ~\n*k : v\n", "a: &k [1]\n*k : v\n", "a: &x [*x]\n",
	"? [1, 2]\n: a\n", "? {a: 1}\n: b\n", "? a\n: b\n", "? a\n", "? |\n  block\n: b\n", "[1]: a\n", "{a: 1}: b\n", "? \n: b\n", ": b\n", "~: a\n", "null: a\n", "'': a\n", "\"\": a\n", "!!null a: b\n", "!!str ~: a\n", "!!binary aGk=: a\n", "!!str 1: a\n", "!!int 0x1F: a\n", "!!float 1: a\n",
	"a:\n\tb: 1\n", "\ta: 1\n", "a:\t1\n", "a: 1\t\n", "a:\n  b: 1\n\t\n  c: 2\n", "{\n\t\"a\": 1\n}\n", "{\n\t\"a\":\t1,\n\t\"b\": [\n\t\t1\n\t]\n}\n", "a: [\n\t1\n]\n", "a: {\n\tb: 1}\n", "- \ta: 1\n", "-\ta\n", "a: |\n\tx\n", "a: |\n  x\n\ty\n", "a: b\n\tc\n", "a: \"b\n\tc\"\n", "a: 1 \t# c\n",
	"a: |\n  one\n  two\n", "a: |-\n  one\n  two\n", "a: |+\n  one\n\n\nb: 1\n", "a: >\n  one\n  two\n\n  three\n", "a: >\n  one\n    two\n  three\n", "a: |1\n  one\n", "a: |2-\n    one\n", "a: |\n  # no comment\n", "a: |\nb: 1\n", "a: |\n  x\n # c\n  y\n", "a: |\n  x\n---\nb: 1\n", "a: |\n  ---\n  x\n", "a: |9\n  x\n", "a: |0\n  x\n", "a: |- # c\n  x\n", "a: |x\n  y\n", "a: >+\n  x\n\n", "a: |\n\n\n  x\n", "a: |\n   x\n  y\n",
	"a: b\n  c\n", "a: 'b\n\n  c'\n", "a: \"b\\\n   c\"\n", "a: \"b \\n c\"\n", "a: b: c\n", "a: 'b': c\n", "a: - b\n", "a: [b\n", "a: {b\n", "a: b]\n", "a: 'b\n", "a: \"b\n", "a:\n  - b\n  c: d\n", "a: 1\n  b: 2\n", "  a: 1\nb: 2\n", " a: 1\n b: 2\n", "a:\n- 1\n- 2\n", "a:\n - 1\n- 2\n", "- a\nb: 1\n", "a\nb: 1\n", "a: @x\n", "a: `x`\n", "a: %x\n", "%x: a\n", "a: !\n", "a: !<x\n", "a: &\n", "a: *\n", "a: ? b\n", "a: \"\\xZZ\"\n", "a: \"\\u12\"\n", "a: ,\n", "[a, b: c, {d}]\n", "{a: [b, {c: d}], e: f}\n", "{a: b c: d}\n", "[a b\n c]\n", "[a, [b, [c]]]\n", "a: [b,,c]\n", "a: {,}\n", "{a: 1,}\n", "[?a]\n", "[:a]\n", "{:a}\n", "[-a]\n", "[a:]\n", "{a:, b: 1}\n", "{\"a\":b}\n", "{a:b}\n", "[http://x:80]\n", "{u: s3://b/c}\n", "[a?b]\n", "{a?: 1}\n", "a?: 1\n", "-a: 1\n", "?a: 1\n", ":a: 1\n", "a:b: 1\n", "a: b#c\n", "a: b #c\n", "a:#c\n", "a: #c\n", "#c\na: 1\n", "a: [1, #c\n  2]\n", "[a]#c\n",
	"a: 1\r\nb: 2\r\n", "a: 1\rb: 2\r", "a: |\r\n  x\r\n  y\r\n", "a: \"x\r\n  y\"\r\n", "a: 1\u0085b: 2\n", "a: x\u2028y\n", "a: \"x\u2029y\"\n", "a: x\u00a0y\n", "\u00a0a: 1\n",
	"\ufeffa: 1\n", "a: \ufeff\n", "a: x\ufeffy\n", "a: \u0000\n", "a: \u0007\n", "a: \u001b\n", "a: \u007f\n", "a: \u0080\n", "a: \ufffe\n", "a: \ufffd\n", "a: \U0001F600\n", "a: \xff\n", "a: \xe4\n", "a: \xc3\xa4\n", "a: \xed\xa0\x80\n", "\xff\xfea\x00:\x00 \x001\x00", "\xfe\xff\x00a\x00:\x00 \x001",
	"{\"a\": 1}\n{\"b\": 2}\n", "{\"a\": 1}\n---\n{\"b\": 2}\n", "{\"a\": 1}{\"b\": 2}", "{\"a\": 1, \"a\": 2}\n", "{\"a\": 1e3, \"b\": 1.0, \"c\": 12345678901234567890, \"d\": -0}\n", "{\"a\": \"\\ud83d\\ude00\"}\n", "{\"a\": \"\\u00fc\\/\"}\n", "{\"a\": NaN}\n", "{\"a\": 01}\n", "{'a': 1}\n", "{a: 1}\n---\nb: 2\n", "[{\"a\": 1}]\n", "{\"a\": 1}\n\n\n", " \n{\"a\": 1}\n", "{\"a\": true, \"b\": null, \"c\": [], \"d\": {}}\n", "{\"a\": 1,}\n", "{\"a\": 1}\nb: 2\n", "{\"a\": 1} # c\n", "{\"a\": 'b'}\n",
	"metadata: {labels: {version: 2, made: 2026-11-28, on: off}}\n", "rerun: 12:30\n", "epochs: 1_000\n", "learningRate: 1e-3\n", "a: [x?y]\n", "a: {b: http://x?y=1}\n", "a: [? x]\n", "a: [x ?y]\n", "a: ! x\n", "a: ! {b: 1}\n", "! 1: a\n", "a: ! <<\n", "a: ?x\n", "a: x?\n", "{\"a\": 1e400}\n", "{\"a\": \"\\ud83d\"}\n", "{\"a\": 1}\n{\"b\": 2}\nc: 3\n", "%YAML 1.1\n---\na: 1\n---\nb: 2\n", "---\n%YAML 1.1\n---\na: 1\n", "a: 1\n\n---\n\n# nothing\n\n---\n\nb: 2\n", "---\na: 1\n---\n---\nb: 2\n---\n", "a: \"x\n---\ny\"\n", "a: &x 1\n---\nb: *x\n", "a: 1\n----\nb: 2\n", "a: 1\n --- \nb: 2\n", "- ---\n- ...\n",
}

func random() []string {
	numbers := rand.New(rand.NewSource(1))
	pieces := strings.Split("0 0 1 1 7 8 9 00 10 12 . . - + e E _ x o b 0x 0b 0o : inf nan .inf y n on no true null ~ Z T p = < a F", " ")
	seen, found := map[string]bool{}, []string{}
	for len(found) < 800 {
		text := ""
		for i := 2 + numbers.Intn(4); i > 0; i-- {
			text += pieces[numbers.Intn(len(pieces))]
		}
		if !seen[text] {
			seen[text] = true
			found = append(found, text)
		}
	}
	return found
}

type row struct {
	Document *string         `json:"document,omitempty"`
	Stream   *string         `json:"stream,omitempty"`
	JSON     json.RawMessage `json:"json,omitempty"`
	Error    string          `json:"error,omitempty"`
	Strict   string          `json:"strict,omitempty"`
	Rest     bool            `json:"rest,omitempty"`
}

// rest says whether text follows the one document that these modules read: they drop it in silence.
func rest(text []byte) bool {
	decoder := goyaml.NewDecoder(bytes.NewReader(text))
	var value any
	if decoder.Decode(&value) != nil {
		return false
	}
	return !errors.Is(decoder.Decode(&value), io.EOF)
}

func document(text string) row {
	found := row{Document: &text, Rest: rest([]byte(text))}
	if got, err := yaml.YAMLToJSON([]byte(text)); err != nil {
		found.Error = err.Error()
	} else {
		found.JSON = got
		if _, err := yaml.YAMLToJSONStrict([]byte(text)); err != nil {
			found.Strict = err.Error()
		}
	}
	return found
}

func stream(text string) row {
	found := row{Stream: &text}
	decoder := kubernetes.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	documents := []json.RawMessage{}
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			found.Error = err.Error()
			return found
		}
		if raw = bytes.TrimSpace(raw); len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
			documents = append(documents, raw)
		}
	}
	found.JSON, _ = json.Marshal(documents)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		for reader := kubernetes.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
			part, err := reader.Read()
			if err != nil {
				break
			}
			found.Rest = found.Rest || rest(part)
			if _, err := yaml.YAMLToJSONStrict(part); err != nil {
				found.Strict = err.Error()
			}
		}
	}
	return found
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	written := map[string]bool{}
	write := func(found row) {
		key := "s"
		if found.Document != nil {
			key = "d" + *found.Document
		} else {
			key += *found.Stream
		}
		// What is not UTF-8 is refused before it is parsed, and the table could not hold it.
		if written[key] || !utf8.ValidString(key) {
			return
		}
		written[key] = true
		if err := encoder.Encode(found); err != nil {
			panic(err)
		}
	}
	for _, scalar := range append(append([]string{}, scalars...), spaced...) {
		write(document("a: " + scalar + "\n"))
		write(document(scalar + ": a\n"))
		write(document("[" + scalar + "]\n"))
		for _, tag := range []string{"!!str", "!!int", "!!float", "!!bool"} {
			if scalar != "" && !strings.HasPrefix(scalar, "!") {
				write(document("a: " + tag + " " + scalar + "\n"))
			}
		}
	}
	for _, scalar := range random() {
		write(document("a: " + scalar + "\n"))
		write(document(scalar + ": a\n"))
	}
	for _, text := range documents {
		write(document(text))
		write(stream(text))
	}
}
