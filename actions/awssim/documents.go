package awssim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PreferencesDocument is the document that holds a region's Session Manager
// preferences. It is absent until someone saves preferences.
const PreferencesDocument = "SSM-SessionManagerRunShell"

// Limits of the page "Systems Manager service quotas".
const (
	versionLimit  = 1000
	documentLimit = 64 << 10
)

// A document is an SSM document with all its versions.
type document struct {
	name           string
	kind           string // Session, Command, …
	owner          string // an account id, or "Amazon"
	created        time.Time
	versions       []documentVersion // version n is at n-1
	defaultVersion int
}

type documentVersion struct {
	content string
	format  string // JSON or YAML
	created time.Time
	active  time.Time // when it becomes Active
	pending string    // its status until then
}

func (v documentVersion) status(now time.Time) string {
	if now.Before(v.active) {
		return v.pending
	}
	return "Active"
}

// A DocumentVersion is one version of a document as a test sees it.
type DocumentVersion struct {
	Version   int
	Content   string
	Format    string
	Created   time.Time
	IsDefault bool
	IsLatest  bool
}

// Preferences saves Session Manager preferences as the console does: a new
// latest version that is also the default. The content is not checked.
func (r *Region) Preferences(content string) *Region {
	return r.Document(PreferencesDocument, "Session", content)
}

// Document adds a version to a document, and the document itself if need be,
// and makes it the default. The content is not checked.
func (r *Region) Document(name, kind, content string) *Region {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	d := r.documents[name]
	if d == nil {
		d = &document{name: name, kind: kind, owner: r.account.id, created: time.Now()}
		r.documents[name] = d
	}
	d.versions = append(d.versions, documentVersion{content: content, format: guessFormat(content), created: time.Now()})
	d.defaultVersion = len(d.versions)
	return r
}

func guessFormat(content string) string {
	if strings.HasPrefix(strings.TrimSpace(content), "{") {
		return "JSON"
	}
	return "YAML"
}

// SetDefaultVersion makes another version of a document the default, for a test
// that wants latest and default to differ.
func (r *Region) SetDefaultVersion(name string, version int) *Region {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	if d := r.documents[name]; d != nil && version >= 1 && version <= len(d.versions) {
		d.defaultVersion = version
	}
	return r
}

// DocumentVersions returns all versions of a document, oldest first.
func (r *Region) DocumentVersions(name string) []DocumentVersion {
	r.account.w.mu.Lock()
	defer r.account.w.mu.Unlock()
	d := r.documents[name]
	if d == nil {
		return nil
	}
	var out []DocumentVersion
	for i, v := range d.versions {
		out = append(out, DocumentVersion{
			Version: i + 1, Content: v.content, Format: v.format, Created: v.created,
			IsDefault: i+1 == d.defaultVersion, IsLatest: i+1 == len(d.versions),
		})
	}
	return out
}

// amazonDocuments are the session documents that AWS owns. Their names are
// legal in StartSession everywhere.
var amazonDocuments = map[string]string{
	"AWS-StartSSHSession":                        `{"schemaVersion":"1.0","description":"Document to start a SSH session over Session Manager","sessionType":"Port","parameters":{"portNumber":{"type":"String","default":"22"}},"properties":{"portNumber":"{{ portNumber }}"}}`,
	"AWS-StartPortForwardingSession":             `{"schemaVersion":"1.0","description":"Document to start port forwarding session over Session Manager","sessionType":"Port","parameters":{"portNumber":{"type":"String","default":"80"},"localPortNumber":{"type":"String","default":"0"}},"properties":{"portNumber":"{{ portNumber }}","type":"LocalPortForwarding","localPortNumber":"{{ localPortNumber }}"}}`,
	"AWS-StartPortForwardingSessionToRemoteHost": `{"schemaVersion":"1.0","description":"Document to start port forwarding session over Session Manager to remote host","sessionType":"Port","parameters":{"host":{"type":"String"},"portNumber":{"type":"String","default":"80"},"localPortNumber":{"type":"String","default":"0"}},"properties":{"host":"{{ host }}","portNumber":"{{ portNumber }}","type":"LocalPortForwarding","localPortNumber":"{{ localPortNumber }}"}}`,
	"AWS-StartNonInteractiveCommand":             `{"schemaVersion":"1.0","description":"Document to run single non-interactive command on instance","sessionType":"NonInteractiveCommands","parameters":{"command":{"type":"String"}},"properties":{"linux":{"commands":"{{command}}","runAsElevated":false}}}`,
	"AWS-StartInteractiveCommand":                `{"schemaVersion":"1.0","description":"Document to run single interactive command on instance","sessionType":"InteractiveCommands","parameters":{"command":{"type":"String"}},"properties":{"linux":{"commands":"{{command}}","runAsElevated":false}}}`,
}

// findDocument looks among the account's documents and those of AWS.
func (r *Region) findDocument(name string) *document {
	if d := r.documents[name]; d != nil {
		return d
	}
	content, ok := amazonDocuments[name]
	if !ok {
		return nil
	}
	return &document{
		name: name, kind: "Session", owner: "Amazon", defaultVersion: 1,
		versions: []documentVersion{{content: content, format: "JSON"}},
	}
}

// documentARN is what the permission for a document is asked on.
func (r *Region) documentARN(name string) string {
	account := r.account.id
	if r.documents[name] == nil && amazonDocuments[name] != "" {
		account = ""
	}
	return "arn:" + r.account.partition + ":ssm:" + r.name + ":" + account + ":document/" + name
}

func onDocument(c *call) []string { return []string{c.region.documentARN(c.Params["Name"])} }

func documentError(code, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: message}
}

func noDocument(name string) *Error {
	return documentError("InvalidDocument", "Document with name "+name+" does not exist.")
}

// pick resolves a version as the API reference has it: a number, $LATEST or
// $DEFAULT; nothing means the default version.
func (d *document) pick(version string) (int, *Error) {
	n := d.defaultVersion
	switch version {
	case "", "$DEFAULT":
	case "$LATEST":
		n = len(d.versions)
	default:
		var err error
		if n, err = strconv.Atoi(version); err != nil || n < 1 || n > len(d.versions) {
			return 0, documentError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
		}
	}
	return n, nil
}

// inUse returns the version that StartSession works with: the latest that is
// Active, whatever the default is.
func (d *document) inUse(now time.Time) (documentVersion, bool) {
	for _, v := range slices.Backward(d.versions) {
		if v.status(now) == "Active" {
			return v, true
		}
	}
	return documentVersion{}, false
}

// tree parses a version's content.
func (v documentVersion) tree() (*node, error) {
	if v.format == "YAML" {
		return parseYAML(v.content)
	}
	return parseJSON([]byte(v.content))
}

type documentInput struct {
	Name, Content, DocumentType, DocumentFormat, DocumentVersion string
	MaxResults                                                   *int
	NextToken                                                    string
}

func getDocument(c *call) (any, *Error) {
	var in documentInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	d := c.region.findDocument(in.Name)
	if d == nil {
		return nil, noDocument(in.Name)
	}
	n, err := d.pick(in.DocumentVersion)
	if err != nil {
		return nil, err
	}
	v := d.versions[n-1]
	content, format := v.content, in.DocumentFormat
	switch format {
	case "":
		format = "JSON"
	case "JSON", "YAML":
	case "TEXT":
		format = v.format
	default:
		return nil, c.invalid("1 validation error detected: Value '" + format + "' at 'documentFormat' failed to satisfy constraint: Member must satisfy enum value set: [YAML, TEXT, JSON]")
	}
	if format != v.format {
		tree, err := v.tree()
		switch {
		case err != nil:
			format = v.format
		case format == "JSON":
			content = tree.renderJSON()
		default:
			content = tree.renderYAML()
		}
	}
	return object{
		"Name": d.name, "DocumentVersion": strconv.Itoa(n), "DocumentType": d.kind, "DocumentFormat": format,
		"Status": v.status(c.now), "Content": content, "CreatedDate": epoch(v.created), "AttachmentsContent": []any{},
	}, nil
}

// describe is the DocumentDescription of one version.
func (d *document) describe(n int, now time.Time) object {
	v := d.versions[n-1]
	sum := sha256.Sum256([]byte(v.content))
	out := object{
		"Name": d.name, "Owner": d.owner, "DocumentType": d.kind, "DocumentFormat": v.format,
		"DocumentVersion": strconv.Itoa(n), "LatestVersion": strconv.Itoa(len(d.versions)), "DefaultVersion": strconv.Itoa(d.defaultVersion),
		"Status": v.status(now), "CreatedDate": epoch(v.created),
		"Hash": hex.EncodeToString(sum[:]), "HashType": "Sha256",
		"PlatformTypes": []string{"Windows", "Linux", "MacOS"}, "Tags": []any{},
	}
	if tree, err := v.tree(); err == nil {
		if schema := tree.member("schemaVersion"); schema != nil {
			out["SchemaVersion"] = schema.text
		}
		if text := tree.member("description"); text != nil {
			out["Description"] = text.text
		}
	}
	return out
}

func describeDocument(c *call) (any, *Error) {
	var in documentInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	d := c.region.findDocument(in.Name)
	if d == nil {
		return nil, noDocument(in.Name)
	}
	n, err := d.pick(in.DocumentVersion)
	if err != nil {
		return nil, err
	}
	return object{"Document": d.describe(n, c.now)}, nil
}

var documentName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,128}$`)

func createDocument(c *call) (any, *Error) {
	var in documentInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	if !documentName.MatchString(in.Name) {
		return nil, c.invalid(`1 validation error detected: Value '` + in.Name + `' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9_\-.]{3,128}$`)
	}
	for _, reserved := range []string{"aws", "amazon", "amzn"} {
		if strings.HasPrefix(strings.ToLower(in.Name), reserved) {
			return nil, c.invalid("The document name prefix " + reserved + " is reserved.")
		}
	}
	if c.region.documents[in.Name] != nil {
		return nil, documentError("DocumentAlreadyExists", "Document with same name "+in.Name+" already exists")
	}
	if in.DocumentType == "" {
		in.DocumentType = "Command"
	}
	if in.DocumentFormat == "" {
		in.DocumentFormat = "JSON"
	}
	if err := checkContent(in.Content, in.DocumentType, in.DocumentFormat); err != nil {
		return nil, err
	}
	d := &document{name: in.Name, kind: in.DocumentType, owner: c.account.id, created: c.now, defaultVersion: 1}
	d.add(in, "Creating", c)
	c.region.documents[in.Name] = d
	return object{"DocumentDescription": d.describe(1, c.now)}, nil
}

func (d *document) add(in documentInput, pending string, c *call) {
	d.versions = append(d.versions, documentVersion{
		content: in.Content, format: in.DocumentFormat, created: c.now,
		active: c.now.Add(c.w.knobs.DocumentDelay), pending: pending,
	})
}

func updateDocument(c *call) (any, *Error) {
	var in documentInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	d := c.region.documents[in.Name]
	if d == nil {
		return nil, noDocument(in.Name)
	}
	// Only the latest version can be updated, by number or as $LATEST.
	if in.DocumentVersion != "" && in.DocumentVersion != "$LATEST" && in.DocumentVersion != strconv.Itoa(len(d.versions)) {
		return nil, documentError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
	}
	if in.DocumentFormat == "" {
		in.DocumentFormat = "JSON"
	}
	if err := checkContent(in.Content, d.kind, in.DocumentFormat); err != nil {
		return nil, err
	}
	latest := d.versions[len(d.versions)-1]
	if latest.status(c.now) != "Active" {
		return nil, documentError("InvalidDocumentOperation", "Document "+d.name+" is being updated.")
	}
	if slices.ContainsFunc(d.versions, func(v documentVersion) bool { return sameContent(v, in) }) {
		return nil, documentError("DuplicateDocumentContent", "The content of the association document matches another document. Change the content of the document and try again.")
	}
	if len(d.versions) >= versionLimit {
		return nil, documentError("DocumentVersionLimitExceeded", fmt.Sprintf("The document has too many versions. The limit is %d.", versionLimit))
	}
	d.add(in, "Updating", c)
	return object{"DocumentDescription": d.describe(len(d.versions), c.now)}, nil
}

// sameContent compares what the documents say, not their white space.
func sameContent(v documentVersion, in documentInput) bool {
	if v.content == in.Content {
		return true
	}
	a, errA := v.tree()
	b, errB := documentVersion{content: in.Content, format: in.DocumentFormat}.tree()
	return errA == nil && errB == nil && a.renderJSON() == b.renderJSON()
}

func updateDocumentDefaultVersion(c *call) (any, *Error) {
	var in documentInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	d := c.region.documents[in.Name]
	if d == nil {
		return nil, noDocument(in.Name)
	}
	n, err := strconv.Atoi(in.DocumentVersion)
	if err != nil {
		return nil, c.invalid("1 validation error detected: Value '" + in.DocumentVersion + "' at 'documentVersion' failed to satisfy constraint: Member must satisfy regular expression pattern: (^[1-9][0-9]*$)")
	}
	if n < 1 || n > len(d.versions) || d.versions[n-1].status(c.now) != "Active" {
		return nil, documentError("InvalidDocumentVersion", "The document version is not valid or does not exist.")
	}
	d.defaultVersion = n
	return object{"Description": object{"Name": d.name, "DefaultVersion": strconv.Itoa(n)}}, nil
}

func listDocumentVersions(c *call) (any, *Error) {
	var in documentInput
	if err := c.input(&in); err != nil {
		return nil, err
	}
	d := c.region.findDocument(in.Name)
	if d == nil {
		return nil, noDocument(in.Name)
	}
	size, err := c.size(in.MaxResults, 50, 1, 50)
	if err != nil {
		return nil, err
	}
	var all []object
	for i, v := range slices.Backward(d.versions) {
		all = append(all, object{
			"Name": d.name, "DocumentVersion": strconv.Itoa(i + 1), "IsDefaultVersion": i+1 == d.defaultVersion,
			"DocumentFormat": v.format, "Status": v.status(c.now), "CreatedDate": epoch(v.created),
		})
	}
	return c.paged("DocumentVersions", all, in.NextToken, size)
}

// inputTypes are the inputs of a Session document and their types, from the
// page "Session document schema". A string that is a {{ parameter }} may stand
// for any of them.
var inputTypes = map[string]byte{
	"s3BucketName": '"', "s3KeyPrefix": '"', "s3EncryptionEnabled": 't',
	"cloudWatchLogGroupName": '"', "cloudWatchEncryptionEnabled": 't', "cloudWatchStreamingEnabled": 't',
	"kmsKeyId": '"', "runAsEnabled": 't', "runAsDefaultUser": '"',
	"idleSessionTimeout": '"', "maxSessionDuration": '"', "shellProfile": '{',
}

// minutes are the inputs that count minutes, as strings, and their highest
// value.
var minutes = map[string]int{"idleSessionTimeout": 60, "maxSessionDuration": 1440}

// checkContent validates what is to be saved.
func checkContent(content, kind, format string) *Error {
	if len(content) > documentLimit {
		return documentError("MaxDocumentSizeExceeded", "The size limit of a document is 64 KB.")
	}
	bad := func(format string, args ...any) *Error {
		return documentError("InvalidDocumentContent", fmt.Sprintf(format, args...))
	}
	var tree *node
	var err error
	switch format {
	case "JSON":
		tree, err = parseJSON([]byte(content))
	case "YAML":
		tree, err = parseYAML(content)
	default:
		return bad("Document format %s is not supported.", format)
	}
	if err != nil || tree.kind != '{' || tree.duplicateKey() {
		return bad("%s not well-formed.", format)
	}
	schema := tree.member("schemaVersion")
	if schema == nil || schema.kind != '"' {
		return documentError("InvalidDocumentSchemaVersion", "The version of the document schema isn't supported.")
	}
	if kind != "Session" {
		return nil
	}
	if schema.text != "1.0" {
		return documentError("InvalidDocumentSchemaVersion", "The version of the document schema isn't supported.")
	}
	types := []string{"Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"}
	if t := tree.member("sessionType"); t == nil || !slices.Contains(types, t.text) {
		return bad("sessionType is missing or not supported.")
	}
	for i, key := range tree.keys {
		v := tree.values[i]
		switch key {
		case "schemaVersion", "sessionType":
		case "description":
			if v.kind != '"' {
				return bad("description must be a string.")
			}
		case "inputs", "parameters", "properties":
			if v.kind != '{' {
				return bad("%s must be a map.", key)
			}
		default:
			return bad("%s is not a part of a Session document.", key)
		}
	}
	return checkInputs(tree.member("inputs"))
}

func checkInputs(inputs *node) *Error {
	if inputs == nil {
		return nil
	}
	for i, key := range inputs.keys {
		v := inputs.values[i]
		want, known := inputTypes[key]
		if !known {
			return documentError("InvalidDocumentContent", "Input "+key+" is not supported.")
		}
		if v.kind == '"' && strings.Contains(v.text, "{{") {
			continue
		}
		if v.kind != want {
			return documentError("InvalidDocumentContent", "Input "+key+" has the wrong type.")
		}
		if limit, counts := minutes[key]; counts && v.text != "" {
			if n, err := strconv.Atoi(v.text); err != nil || n < 1 || n > limit {
				return documentError("InvalidDocumentContent", fmt.Sprintf("Input %s must be from 1 to %d.", key, limit))
			}
		}
	}
	return nil
}
