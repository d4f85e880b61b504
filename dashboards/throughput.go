package main

import "tonearm/dashboards/grafana"

// file returns the name of a dashboard's file: its uid without the project's
// name.
func file(d grafana.Dashboard) string { return d.UID[len("tonearm-"):] + ".json" }

// runbook is the address where docs/operations.md is published: change it to
// yours.
const runbook = "https://tonearm.example.org/docs/operations.md"

func throughput() grafana.Dashboard {
	return grafana.Dashboard{
		UID: "tonearm-throughput", Title: "Tonearm / Throughput", Tags: []string{"tonearm"},
		Description:   "How many files come, how many are done, how long each part of their way takes, and what they wait for.",
		SchemaVersion: 39, GraphTooltip: 1, Refresh: "30s", Timezone: "browser",
		Time: grafana.Time{From: "now-6h", To: "now"},
		Links: []grafana.Link{
			{Type: "dashboards", Title: "Tonearm", Tags: []string{"tonearm"}, Icon: "external link", AsDropdown: true, IncludeVars: true, KeepTime: true},
			{Type: "link", Title: "Runbook", URL: "${runbook}#" + whenWrong, Icon: "doc", TargetBlank: true},
		},
		Templating: grafana.Templating{List: variables()},
		Panels:     arrange([]row{rate(), failures(), duration(), waiting(), resources()}),
	}
}

// variables are the variables of a dashboard. A small installation has no
// labels cluster and namespace, so "all" also matches metrics without them.
func variables() []grafana.Variable {
	chosen := func(name, label, allValue, query string) grafana.Variable {
		return grafana.Variable{
			Type: "query", Name: name, Label: label, Datasource: source, Definition: query,
			Query:   grafana.VariableQuery{Query: query, RefID: "StandardVariableQuery"},
			Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: allValue,
			Current: &grafana.Current{Text: []string{"All"}, Value: []string{"$__all"}},
		}
	}
	return []grafana.Variable{
		{Type: "datasource", Name: "datasource", Label: "Data source", Query: "prometheus", Refresh: 1},
		chosen("cluster", "Cluster", ".*", `label_values(tonearm_queue_messages, cluster)`),
		chosen("namespace", "Namespace", ".*", `label_values(tonearm_queue_messages{cluster=~"$cluster"}, namespace)`),
		chosen("job", "Job", "", `label_values({__name__=~"tonearm_queue_messages|tonearm_notices_total|tonearm_http_requests_total",cluster=~"$cluster",namespace=~"$namespace"}, job)`),
		{Type: "constant", Name: "runbook", Label: "Runbook", Query: runbook, Hide: 2, Current: &grafana.Current{Text: runbook, Value: runbook}},
	}
}

func rate() row {
	return row{"Rate", []panel{
		{title: "Files done", about: "MP3s made in the range that is shown.", unit: count, anchor: lookAt, width: 6, stat: true, queries: []query{
			{"", `sum(increase(tonearm_conversions_finished_total{*,state="done"}[$__range]))`}}},
		{title: "Sound converted", about: "Length of these MP3s together.", unit: seconds, anchor: lookAt, width: 6, stat: true, queries: []query{
			{"", `sum(increase(tonearm_audio_seconds_total{*}[$__range]))`}}},
		{title: "Failed", about: "Share of the files that ended in the range and failed, mostly for what is in the file. The row Errors has the codes.",
			unit: share, anchor: whenWrong, width: 6, stat: true, queries: []query{
				{"", `sum(increase(tonearm_conversions_finished_total{*,state="failed"}[$__range])) / (sum(increase(tonearm_conversions_finished_total{*,state=~"done|failed"}[$__range])) > 0) or vector(0)`}}},
		{title: "Waiting now", about: "Files that wait for an attempt.", unit: count, anchor: whenWrong, width: 6, stat: true, queries: []query{
			{"", `sum(max by (cluster, namespace, class) (tonearm_queue_messages{*,class=~"cpu|gpu",waiting_for="taker"}))`}}},
		{title: "Files per hour", about: "Files whose first attempt began, and files that ended, by class and outcome.",
			unit: filesPerH, anchor: lookAt, width: 12, queries: []query{
				{"{{class}} begun", `3600 * sum by (class) (rate(tonearm_stage_duration_seconds_count{*,stage="queue"}[$__rate_interval]))`},
				{"{{class}} {{state}}", `3600 * sum by (class, state) (rate(tonearm_conversions_finished_total{*}[$__rate_interval]))`}}},
		{title: "Sound per hour", about: "Hours of sound converted in an hour, by class: how many times faster than listening the whole installation is.",
			unit: hoursPerH, anchor: lookAt, width: 12, queries: []query{
				{"{{class}}", `sum by (class) (rate(tonearm_audio_seconds_total{*}[$__rate_interval]))`}}},
		{title: "Notifications", about: "Notifications of the store and finds of the sweep, by what came of them. found_by_sweep are those that the store lost.",
			unit: perHour, anchor: whenWrong, width: 8, many: true, queries: []query{
				{"{{outcome}}", `3600 * sum by (outcome) (rate(tonearm_events_total{*}[$__rate_interval]))`}}},
		{title: "Requests", about: "Requests that the gateway answered, by route.", unit: requests, anchor: lookAt, width: 8, many: true, queries: []query{
			{"{{method}} {{route}}", `sum by (method, route) (rate(tonearm_http_requests_total{*}[$__rate_interval]))`}}},
		{title: "Mails", about: "Mails by what came of them: sent, delayed (to be tried again), refused (given up), obsolete (no longer owed), poison (tried too often).",
			unit: perHour, anchor: whenWrong, width: 8, queries: []query{
				{"{{outcome}}", `3600 * sum by (outcome) (rate(tonearm_notices_total{*}[$__rate_interval]))`}}},
	}}
}

func failures() row {
	return row{"Errors", []panel{
		{title: "Failures by code", about: "Files that failed, by the code that their owners see. The codes are in docs/architecture.md.",
			unit: count, anchor: whenWrong, width: 8, bars: true, queries: []query{
				{"{{code}}", seldom(`sum by (code) (increase(tonearm_conversions_finished_total{*,state="failed"}[$__rate_interval]))`, "code", "no failures")}}},
		{title: "Ends of attempts", about: "Attempts that ended, by reason. exited are those that reported, stopped those that were canceled; all others are trouble.",
			unit: count, anchor: whenWrong, width: 8, bars: true, queries: []query{
				{"{{reason}}", seldom(`sum by (reason) (increase(tonearm_attempts_ended_total{*}[$__rate_interval]))`, "reason", "no ends")}}},
		{title: "Refused requests", about: "Answers of the gateway that are no success, by status. 5xx are its own or its stores' failures, 499 clients that did not wait.",
			unit: requests, anchor: whenWrong, width: 8, queries: []query{
				{"{{code}}", seldom(`sum by (code) (rate(tonearm_http_requests_total{*,code=~"[45].."}[$__rate_interval]))`, "code", "none")}}},
		{title: "Put right", about: "What was found and mended: uploads that the store did not tell of, messages that a crash left unpublished, conversions for a GPU that were made without.",
			unit: count, anchor: whenWrong, width: 8, queries: []query{
				{"found by the sweep", `sum(increase(tonearm_events_total{*,outcome="found_by_sweep"}[$__rate_interval]))`},
				{"published by the relay", `sum(increase(tonearm_outbox_relayed_total{*}[$__rate_interval]))`},
				{"without a GPU: {{reason}}", `sum by (reason) (increase(tonearm_dispatcher_fallbacks_total{*}[$__rate_interval]))`}}},
		{title: "Launches", about: "Attempts launched, by class, against files that ended: more launches than files are repeated attempts, or files canceled under way.",
			unit: perHour, anchor: lookAt, width: 8, queries: []query{
				{"{{class}} launched", `3600 * sum by (class) (rate(tonearm_attempts_launched_total{*}[$__rate_interval]))`},
				{"{{class}} ended files", `3600 * sum by (class) (rate(tonearm_conversions_finished_total{*,state=~"done|failed"}[$__rate_interval]))`}}},
		{title: "Objects nobody knows", about: "Objects in the bucket without a record, and inbox drops whose owner has no account, at the last count. Nothing is removed.",
			unit: count, anchor: whenWrong, width: 8, queries: []query{
				{"{{prefix}}", `sum by (prefix) (max by (cluster, namespace, prefix) (tonearm_orphan_objects{*}))`},
				{"inbox, unknown owner", `sum(max by (cluster, namespace) (tonearm_inbox_unknown_owner_objects{*}))`}}},
	}}
}

func duration() row {
	stage := func(name string) []query { return quantiles("tonearm_stage_duration_seconds", `,stage="`+name+`"`) }
	return row{"Duration", []panel{
		{title: "Upload finished → queued", about: "How long the store's notification took. Files that the sweep found are in it, to the second; those whose client said first that they are complete are not.",
			unit: seconds, anchor: whenWrong, width: 6, queries: stage("detect")},
		{title: "Queued → claimed", about: "Time of first attempts in the queue, with the start of their Job.", unit: seconds, anchor: whenWrong, width: 6, queries: stage("queue")},
		{title: "Claimed → done", about: "Reading, converting and storing.", unit: seconds, anchor: lookAt, width: 6, queries: stage("convert")},
		{title: "Done → mailed", about: "Time until the mail server had the mail.", unit: seconds, anchor: whenWrong, width: 6, queries: quantiles("tonearm_notice_delay_seconds", "")},
		{title: "Real-time factor", about: "Seconds of sound made in a second of one attempt, by class. It tells of machines and files, not of how many run at a time.",
			unit: times, anchor: lookAt, width: 12, queries: []query{
				{"{{class}}", `sum by (class) (rate(tonearm_audio_seconds_total{*}[$__rate_interval])) / sum by (class) (rate(tonearm_stage_duration_seconds_sum{*,stage="convert"}[$__rate_interval]))`}}},
		{title: "Time to answer", about: "Time in which the gateway answered, without the routes that take as long as they are asked to: waiting for one conversion, its events, uploads through the gateway.",
			unit: seconds, anchor: lookAt, width: 12, queries: quantiles("tonearm_http_request_duration_seconds", `,route!~"/v1/conversions/{id}|/v1/conversions/{id}/events|/upload.*"`)},
	}}
}

func waiting() row {
	attempts := func(name string) string {
		return `sum by (class) (max by (cluster, namespace, class) (tonearm_attempts_` + name + `{*}))`
	}
	jobs := func(name string) string {
		return `sum by (class) (max by (cluster, namespace, class) (tonearm_jobs_` + name + `{*}))`
	}
	return row{"Queue", []panel{
		{title: "Queue against limit", about: "Files that wait, attempts that run, and how many may. Files wait and fewer run than may: the launcher or the nodes.",
			unit: count, anchor: whenWrong, width: 12, dashed: "D", queries: []query{
				{"{{class}} waiting", `sum by (class) (max by (cluster, namespace, class) (tonearm_queue_messages{*,class=~"cpu|gpu",waiting_for="taker"}))`},
				{"{{class}} running", attempts("running")},
				{"{{class}} allowed", attempts("allowed")},
				{"{{class}} limit", attempts("limit")}}},
		{title: "Oldest message", about: "For how long the message has waited that waits longest, by class. Within the target, where one is set, all is well.",
			unit: seconds, anchor: whenWrong, width: 6, queries: []query{
				{"{{class}}", `max by (class) (tonearm_queue_oldest_seconds{*})`}}},
		{title: "Predicted work", about: "How long one attempt after the other would take for the files that wait, from what files of their size took so far.",
			unit: seconds, anchor: lookAt, width: 6, queries: []query{
				{"{{class}}", `sum by (class) (max by (cluster, namespace, class) (tonearm_queue_work_seconds{*}))`}}},
		{title: "Messages", about: "All messages in the queue by class and what they wait for: a taker, their time, or the acknowledgement of who took them.",
			unit: count, anchor: lookAt, width: 12, many: true, queries: []query{
				{"{{class}}: {{waiting_for}}", `sum by (class, waiting_for) (max by (cluster, namespace, class, waiting_for) (tonearm_queue_messages{*}))`}}},
		{title: "Jobs", about: "On Kubernetes: Jobs whose container runs; pending ones; of these, those that no node takes and those whose container cannot be made. Empty where attempts are processes.",
			unit: count, anchor: kubernetes, width: 12, queries: []query{
				{"{{class}} running", jobs("running")},
				{"{{class}} pending", jobs("pending")},
				{"{{class}} unschedulable", jobs("unschedulable")},
				{"{{class}} unstartable", jobs("unstartable")}}},
	}}
}

func resources() row {
	perSecond := func(metric string) string { return `sum(rate(` + metric + `{*}[$__rate_interval]))` }
	return row{"Resources", []panel{
		{title: "Bytes", about: "Bytes of the videos that were converted, what was read of them, and their MP3s, counted when a file is done.",
			unit: bytesPerS, anchor: lookAt, width: 8, queries: []query{
				{"videos", perSecond("tonearm_source_bytes_total")},
				{"read", perSecond("tonearm_source_read_bytes_total")},
				{"MP3s", perSecond("tonearm_mp3_bytes_total")}}},
		{title: "Share of the videos that is read", about: "Bytes read of the store against bytes of the videos, by class. Pictures need not be read where the container tells where the sound is.",
			unit: share, anchor: lookAt, width: 8, queries: []query{
				{"{{class}}", `sum by (class) (rate(tonearm_source_read_bytes_total{*}[$__rate_interval])) / sum by (class) (rate(tonearm_source_bytes_total{*}[$__rate_interval]))`}}},
		{title: "Objects removed", about: "Objects of refused results and of deleted conversions.", unit: count, anchor: lookAt, width: 8, queries: []query{
			{"removed", `sum(increase(tonearm_objects_removed_total{*}[$__rate_interval]))`}}},
		{title: "Replicas", about: "Processes that answer Prometheus, by job. The services, not the attempts.", unit: count, anchor: whenWrong, width: 8, queries: []query{
			{"{{job}}", `sum by (job) (up{*})`}}},
		{title: "Memory", about: "Resident memory of the largest process of each job.", unit: size, anchor: lookAt, width: 8, queries: []query{
			{"{{job}}", `max by (job) (process_resident_memory_bytes{*})`}}},
		{title: "CPU", about: "Processor time of the processes of each job, without that of attempts.", unit: cores, anchor: lookAt, width: 8, queries: []query{
			{"{{job}}", `sum by (job) (rate(process_cpu_seconds_total{*}[$__rate_interval]))`}}},
	}}
}

// seldom shows only the series of a count that are above zero. If there are
// none, it shows one line named none.
func seldom(expr, label, none string) string {
	return expr + ` > 0 or on () label_replace(vector(0), "` + label + `", "` + none + `", "", "")`
}
