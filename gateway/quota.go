package gateway

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"tonearm/internal/account"
	"tonearm/internal/api"
	"tonearm/internal/conversion"
	"tonearm/internal/quota"
)

// The limits of all users together.
const (
	waitersOfAll = account.QuotaWaiters + "_overall"
	uploadsOfAll = account.QuotaGatewayUploads + "_overall"
)

// refusable are the limits that a gateway refuses requests for.
var refusable = []account.Quota{
	account.QuotaOpenUploads, account.QuotaQueued, account.QuotaStored, account.QuotaDailyBytes, account.QuotaDailySound,
	account.QuotaWaiters, waitersOfAll, account.QuotaGatewayUploads, uploadsOfAll,
}

// quotaOf is the limit of a user; account.Unlimited for none.
func (g *Gateway) quotaOf(u account.User, q account.Quota) int64 {
	return u.Limits.Or(g.o.Quotas).Of(q)
}

// quotaExceeded says which limit was reached, and what helps.
func quotaExceeded(e *quota.Exceeded) *problem {
	n := e.Limit
	detail := map[account.Quota]string{
		account.QuotaOpenUploads:    fmt.Sprintf("You have begun %d uploads that are not finished, which is the limit. Finish or cancel some: tonearm list --state awaiting_upload.", n),
		account.QuotaQueued:         fmt.Sprintf("%d of your conversions wait for their turn, which is the limit. Try again when some are done.", n),
		account.QuotaStored:         fmt.Sprintf("Your videos and MP3s may take %s (%d bytes), and there is not enough of that left. Delete some conversions: tonearm rm ID.", conversion.Size(n), n),
		account.QuotaDailyBytes:     fmt.Sprintf("You may upload %s (%d bytes) a day, and there is not enough of that left. Try again tomorrow (UTC).", conversion.Size(n), n),
		account.QuotaDailySound:     fmt.Sprintf("You may convert %d seconds of sound a day, and that is used up. Try again tomorrow (UTC).", n),
		account.QuotaWaiters:        fmt.Sprintf("You have %d requests with ?wait= open, which is the limit. Ask without wait, or end some of them.", n),
		waitersOfAll:                "Too many requests with ?wait= are open. Ask without wait, or try again.",
		account.QuotaGatewayUploads: fmt.Sprintf("You have %d uploads through the gateway under way, which is the limit. Try again when one is finished, or upload to the object store: POST /v1/conversions.", n),
		uploadsOfAll:                "Too many uploads through the gateway are under way. Try again, or upload to the object store: POST /v1/conversions.",
	}[e.Quota]
	p := refuse(http.StatusTooManyRequests, "quota_exceeded", detail).retryIn(e.Retry)
	p.Limit = string(e.Quota)
	return p
}

// usage is how much of the quotas a user takes.
func (g *Gateway) usage(ctx context.Context, u account.User) ([]api.Usage, error) {
	levels, err := g.meter.Levels(ctx, u)
	if err != nil {
		return nil, err
	}
	_, waiters := g.waiters.Open(u.ID)
	_, uploads := g.uploads.Open(u.ID)
	levels = slices.Concat(levels, []quota.Level{
		{Quota: account.QuotaWaiters, Used: waiters, Limit: g.quotaOf(u, account.QuotaWaiters)},
		{Quota: account.QuotaGatewayUploads, Used: uploads, Limit: g.quotaOf(u, account.QuotaGatewayUploads)},
	})
	var use []api.Usage
	for _, l := range levels {
		use = append(use, api.Usage{Name: l.Quota, Used: l.Used, Limit: max(l.Limit, 0)})
	}
	return use, nil
}

// openGauge shows what is open in this gateway.
func (g *Gateway) openGauge() prometheus.Collector { return openCollector{g} }

type openCollector struct{ g *Gateway }

var openDesc = prometheus.NewDesc("tonearm_gateway_open", "What users have open at this gateway: waiters (requests with ?wait=) and gateway_uploads.", []string{"what"}, nil)

// Describe implements prometheus.Collector.
func (c openCollector) Describe(ch chan<- *prometheus.Desc) { ch <- openDesc }

// Collect implements prometheus.Collector.
func (c openCollector) Collect(ch chan<- prometheus.Metric) {
	for q, s := range map[account.Quota]*quota.Slots{account.QuotaWaiters: c.g.waiters, account.QuotaGatewayUploads: c.g.uploads} {
		open, _ := s.Open("")
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(open), string(q))
	}
}
