package gateway

import (
	"bytes"
	"cmp"
	"embed"
	"net/http"
	"path"
	"time"
)

// docsFiles holds swagger-ui-dist 5.35.0 (Apache-2.0), only the files that are
// needed to show /openapi.json, and the page around them.
//
//go:embed docs
var docsFiles embed.FS

// docsPolicy lets the page load only what this server serves. The exceptions
// are for its scripts, which set styles on elements, and for its style sheet,
// which holds small images.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (g *Gateway) docs(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("file")
	name = cmp.Or(name, "index.html")
	file, err := docsFiles.ReadFile(path.Join("docs", name))
	if err != nil {
		return refuse(http.StatusNotFound, "no_such_path", "There is no such page. The documentation is at /docs.")
	}
	w.Header().Set("Content-Security-Policy", docsPolicy)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file))
	return nil
}
