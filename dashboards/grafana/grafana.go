// Package grafana has as much of Grafana's dashboard JSON (version 11 and
// later) as Tonearm's dashboards use. It also does with their variables what
// Grafana does.
package grafana

// Dashboard is a file that Grafana imports or provisions.
type Dashboard struct {
	UID           string     `json:"uid"`
	Title         string     `json:"title"`
	Description   string     `json:"description"`
	Tags          []string   `json:"tags"`
	SchemaVersion int        `json:"schemaVersion"`
	Editable      bool       `json:"editable"`
	GraphTooltip  int        `json:"graphTooltip"` // 1: the crosshair is shown in all panels
	Refresh       string     `json:"refresh"`
	Time          Time       `json:"time"`
	Timezone      string     `json:"timezone"`
	Links         []Link     `json:"links"`
	Templating    Templating `json:"templating"`
	Panels        []Panel    `json:"panels"`
}

// Time is the range that is shown at first.
type Time struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Link leads to a page, or to the dashboards with a tag.
type Link struct {
	Type        string   `json:"type"` // link or dashboards
	Title       string   `json:"title"`
	URL         string   `json:"url,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Icon        string   `json:"icon,omitempty"`
	AsDropdown  bool     `json:"asDropdown,omitempty"`
	IncludeVars bool     `json:"includeVars,omitempty"`
	KeepTime    bool     `json:"keepTime,omitempty"`
	TargetBlank bool     `json:"targetBlank,omitempty"`
}

// Templating holds the variables.
type Templating struct {
	List []Variable `json:"list"`
}

// Variable is a choice at the top of the dashboard, or a constant.
type Variable struct {
	Type       string      `json:"type"` // datasource, query or constant
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Query      any         `json:"query"` // a string, or a VariableQuery
	Definition string      `json:"definition,omitempty"`
	Datasource *Datasource `json:"datasource,omitempty"`
	Refresh    int         `json:"refresh,omitempty"` // 1: on load, 2: when the time range changes
	Sort       int         `json:"sort,omitempty"`
	Multi      bool        `json:"multi,omitempty"`
	IncludeAll bool        `json:"includeAll,omitempty"`
	AllValue   string      `json:"allValue,omitempty"` // "" means all values, each as an alternative
	Current    *Current    `json:"current,omitempty"`
	Hide       int         `json:"hide,omitempty"` // 2: not shown
}

// VariableQuery asks a data source for the values of a variable.
type VariableQuery struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

// Current is the value that is selected at first.
type Current struct {
	Text  any `json:"text"`
	Value any `json:"value"`
}

// Datasource names a data source by its type and uid.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is one picture, or the title of a row of them.
type Panel struct {
	ID          int          `json:"id"`
	Type        string       `json:"type"` // row, timeseries or stat
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	GridPos     GridPos      `json:"gridPos"`
	Collapsed   *bool        `json:"collapsed,omitempty"` // of a row
	Panels      []Panel      `json:"panels,omitempty"`    // of a collapsed row
	Datasource  *Datasource  `json:"datasource,omitempty"`
	Links       []Link       `json:"links,omitempty"`
	Targets     []Target     `json:"targets,omitempty"`
	FieldConfig *FieldConfig `json:"fieldConfig,omitempty"`
	Options     any          `json:"options,omitempty"`
}

// GridPos is a place on a grid 24 wide.
type GridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is one query of a panel.
type Target struct {
	RefID        string      `json:"refId"`
	Datasource   *Datasource `json:"datasource"`
	EditorMode   string      `json:"editorMode"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat"`
	Instant      bool        `json:"instant"`
	Range        bool        `json:"range"`
}

// FieldConfig says how values are shown.
type FieldConfig struct {
	Defaults  Defaults   `json:"defaults"`
	Overrides []Override `json:"overrides"`
}

// Defaults are the settings of all series of a panel.
type Defaults struct {
	Unit       string         `json:"unit"`
	Decimals   *int           `json:"decimals,omitempty"`
	Min        *float64       `json:"min,omitempty"`
	Color      map[string]any `json:"color"`
	Thresholds map[string]any `json:"thresholds"`
	Custom     map[string]any `json:"custom,omitempty"`
}

// Override changes how the series of one query are shown.
type Override struct {
	Matcher    Matcher    `json:"matcher"`
	Properties []Property `json:"properties"`
}

// Matcher chooses series.
type Matcher struct {
	ID      string `json:"id"`
	Options string `json:"options"`
}

// Property is one setting.
type Property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}
