package account

import "context"

type networkKey struct{}

// FromNetwork returns a context for a request that came from this network. A
// Store lets networks take turns where work is costly.
func FromNetwork(ctx context.Context, network string) context.Context {
	return context.WithValue(ctx, networkKey{}, network)
}

// Network is the network that a request came from, empty if it came from none, as
// that of an operator's command.
func Network(ctx context.Context) string {
	network, _ := ctx.Value(networkKey{}).(string)
	return network
}
