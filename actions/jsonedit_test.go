package actions

import (
	"encoding/json"
	"strings"
	"testing"
)

// Only what is set changes; every other byte stays.
func TestSetMembers(t *testing.T) {
	set := []member{{key: "a", value: []byte(`"new"`)}, {key: "z", value: []byte("true")}}
	for doc, want := range map[string]string{
		`{"inputs":{"a":"old"}}`:                      `{"inputs":{"a":"new","z":true}}`,
		`{"inputs":{}}`:                               `{"inputs":{"a":"new","z":true}}`,
		"{\n \"inputs\" : { } ,\n \"n\": 1.50e+3 }\n": "{\n \"inputs\" : { \"a\":\"new\",\"z\":true} ,\n \"n\": 1.50e+3 }\n",
		`{}`:                `{"inputs":{"a":"new","z":true}}`,
		`{"x":"<é\u00e9>"}`: `{"x":"<é\u00e9>","inputs":{"a":"new","z":true}}`,
		`{"inputs":{"z": false , "b":[1,{"a":2}],"a":1}}`: `{"inputs":{"z": true , "b":[1,{"a":2}],"a":"new"}}`,
		`{"inputs":{"a":1,"a":2,"z":0}}`:                  `{"inputs":{"a":1,"a":"new","z":true}}`,
		`{"inputs":{"a":-12,"z":null}}`:                   `{"inputs":{"a":"new","z":true}}`,
	} {
		got, err := setMembers([]byte(doc), "inputs", set)
		if err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", doc, got, err, want)
		}
	}
	for _, doc := range []string{"", "[]", `{"inputs":[]}`, `{"inputs":{}} x`, `{"inputs":{`, "null"} {
		if got, err := setMembers([]byte(doc), "inputs", set); err == nil {
			t.Errorf("%s: got %s, want an error", doc, got)
		}
	}
}

func FuzzSetMembers(f *testing.F) {
	f.Add(`{"schemaVersion":"1.0","inputs":{"cloudWatchLogGroupName":"x","n":1.50}}`)
	f.Add("{\n\t\"inputs\" : { } , \"a\\u0062\": [ ] }")
	f.Add(emptyPreferences)
	want := wanted(logGroup{name: "/aws/ssm/a/cluster", kms: true})
	f.Fuzz(func(t *testing.T, doc string) {
		got, err := setMembers([]byte(doc), "inputs", want)
		if err != nil {
			return
		}
		if !json.Valid(got) {
			t.Fatalf("%q became %q", doc, got)
		}
		p := preferences{doc: got}
		if lines, err := p.differences(want); err != nil || len(lines) > 0 {
			t.Fatalf("%q became %q, which still differs: %v, %v", doc, got, lines, err)
		}
		before, err1 := membersAt([]byte(doc))
		after, err2 := membersAt(got)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for i, m := range before {
			if m.key != "inputs" && string(after[i].value) != string(m.value) {
				t.Fatalf("%q: %s became %s", m.key, m.value, after[i].value)
			}
		}
	})
}

// A document in YAML means what AWS takes it to mean.
func TestAsJSON(t *testing.T) {
	const in = `
schemaVersion: "1.0"   # kept as a string
inputs:
  runAsEnabled: yes
  s3EncryptionEnabled: off
  quoted: "yes"
  idleSessionTimeout: "20"
  number: 12
  hex: 0x1F
  nothing: ~
  list: [a, 1, true]
  shellProfile: &p
    linux: |
      echo "<&>"
  again: *p
`
	const want = `{"schemaVersion":"1.0","inputs":{"runAsEnabled":true,"s3EncryptionEnabled":false,"quoted":"yes","idleSessionTimeout":"20","number":12,"hex":"0x1F","nothing":null,"list":["a",1,true],"shellProfile":{"linux":"echo \"<&>\"\n"},"again":{"linux":"echo \"<&>\"\n"}}}`
	got, err := asJSON([]byte(in))
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	const same = "{ \"b\" : 1.50,\"a\":\"\\u00e9\" }\n"
	if got, err := asJSON([]byte(same)); err != nil || string(got) != same {
		t.Errorf("JSON was changed: %s, %v", got, err)
	}
	var bomb strings.Builder
	bomb.WriteString("a: &a [x,x,x,x,x,x,x,x,x]\n")
	for i := range 9 {
		c, d := string(rune('a'+i)), string(rune('b'+i))
		bomb.WriteString(d + ": &" + d + " [" + strings.Repeat("*"+c+",", 9) + "*" + c + "]\n")
	}
	for _, bad := range []string{"", "just text", "- a\n- b\n", "a: {b", "a: 1\n---\nb: 2\n", "<<: {a: 1}\n", "&a [*a]", bomb.String()} {
		if got, err := asJSON([]byte(bad)); err == nil {
			t.Errorf("%.40q: got %.80s, want an error", bad, got)
		}
	}
}
