// Package netpol enforces networking.k8s.io/v1 NetworkPolicy on the pods of a
// node whose pods share a bridge, with one nftables table that it writes anew,
// in one transaction, after every change. net.bridge.bridge-nf-call-iptables
// must be 1, so that packets between pods pass the forward hook.
//
// IPv4 only. Traffic from the node to its pods (probes, pods on the node's
// network) is always allowed, as the API says it may be. A new pod's policies
// hold some milliseconds after it got its address: a test waits for them.
package netpol

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"os/exec"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// NewCommand returns the command `netpol --kubeconfig FILE`.
func NewCommand() *cobra.Command {
	var kubeconfig, table string
	c := &cobra.Command{
		Use: "netpol", Short: "Enforce NetworkPolicy by nftables", Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error { return enforce(c.Context(), kubeconfig, table) },
	}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig `file`")
	c.Flags().StringVar(&table, "table", "netpol", "nftables table, of family ip")
	return c
}

// enforce follows the cluster until ctx is done.
func enforce(ctx context.Context, kubeconfig, table string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	f := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces, policies := f.Core().V1().Pods(), f.Core().V1().Namespaces(), f.Networking().V1().NetworkPolicies()
	dirty := make(chan struct{}, 1)
	mark := func() {
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	h := cache.ResourceEventHandlerFuncs{AddFunc: func(any) { mark() }, UpdateFunc: func(any, any) { mark() }, DeleteFunc: func(any) { mark() }}
	for _, i := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := i.AddEventHandler(h); err != nil {
			return err
		}
	}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	mark()
	var last string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-dirty:
		}
		p, _ := pods.Lister().List(labels.Everything())
		n, _ := namespaces.Lister().List(labels.Everything())
		np, _ := policies.Lister().List(labels.Everything())
		rules, err := Render(table, p, n, np)
		if err == nil && rules == last {
			continue
		}
		if err == nil {
			nft := exec.CommandContext(ctx, "nft", "-f", "-")
			nft.Stdin, nft.Stderr = strings.NewReader(rules), os.Stderr
			if err = nft.Run(); err == nil {
				log.Printf("applied: %d policies, %d pods", len(np), len(p))
				last = rules
				continue
			}
		}
		log.Printf("not applied: %v", err)
		time.AfterFunc(time.Second, mark)
	}
}

// Render returns the whole table as one nft transaction.
func Render(table string, pods []*corev1.Pod, nss []*corev1.Namespace, nps []*netv1.NetworkPolicy) (string, error) {
	r := &renderer{nsLabels: map[string]labels.Set{}}
	for _, n := range nss {
		r.nsLabels[n.Name] = n.Labels
	}
	for _, p := range pods {
		if p.Status.PodIP != "" && !p.Spec.HostNetwork && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			r.pods = append(r.pods, p)
		}
	}
	sort.Slice(r.pods, func(i, j int) bool { return r.pods[i].Status.PodIP < r.pods[j].Status.PodIP })
	sort.Slice(nps, func(i, j int) bool { return nps[i].Namespace+"/"+nps[i].Name < nps[j].Namespace+"/"+nps[j].Name })
	var chains, ingress, egress bytes.Buffer
	for _, p := range r.pods {
		in, out := []string{}, []string{}
		isoIn, isoOut := false, false
		for _, np := range nps {
			sel, err := metav1.LabelSelectorAsSelector(&np.Spec.PodSelector)
			if err != nil {
				return "", err
			}
			if np.Namespace != p.Namespace || !sel.Matches(labels.Set(p.Labels)) {
				continue
			}
			for _, t := range np.Spec.PolicyTypes {
				switch t {
				case netv1.PolicyTypeIngress:
					isoIn = true
					for _, rule := range np.Spec.Ingress {
						rr, err := r.rules(np, "saddr", rule.From, rule.Ports, p)
						if err != nil {
							return "", err
						}
						in = append(in, rr...)
					}
				case netv1.PolicyTypeEgress:
					isoOut = true
					for _, rule := range np.Spec.Egress {
						rr, err := r.rules(np, "daddr", rule.To, rule.Ports, nil)
						if err != nil {
							return "", err
						}
						out = append(out, rr...)
					}
				}
			}
		}
		id := fmt.Sprintf("%x", sha256.Sum256([]byte(p.Namespace+"/"+p.Name)))[:12]
		for _, d := range []struct {
			iso   bool
			name  string
			rules []string
			jump  *bytes.Buffer
			match string
		}{{isoIn, "in_" + id, in, &ingress, "daddr"}, {isoOut, "eg_" + id, out, &egress, "saddr"}} {
			if d.iso {
				fmt.Fprintf(&chains, "  chain %s { # %s/%s\n%s    counter drop\n  }\n", d.name, p.Namespace, p.Name, strings.Join(d.rules, ""))
				fmt.Fprintf(d.jump, "    ip %s %s jump %s\n", d.match, p.Status.PodIP, d.name)
			}
		}
	}
	est := "    ct state established,related accept\n"
	return fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\ntable ip %[1]s {\n%[2]s"+
		"  chain egress {\n%[3]s  }\n  chain ingress {\n%[4]s  }\n"+
		"  chain forward {\n    type filter hook forward priority -5; policy accept;\n%[5]s    jump egress\n    jump ingress\n  }\n"+
		"  chain input {\n    type filter hook input priority -5; policy accept;\n%[5]s    jump egress\n  }\n}\n",
		table, chains.String(), egress.String(), ingress.String(), est), nil
}

type renderer struct {
	pods     []*corev1.Pod
	nsLabels map[string]labels.Set
}

// rules renders one ingress or egress rule: peers x ports. target is the pod whose
// named ports count (ingress); for egress, each selected pod's own.
func (r *renderer) rules(np *netv1.NetworkPolicy, dir string, peers []netv1.NetworkPolicyPeer, ports []netv1.NetworkPolicyPort, target *corev1.Pod) ([]string, error) {
	var out []string
	add := func(match string, to *corev1.Pod) {
		pm := portMatches(ports, to)
		for _, m := range pm {
			out = append(out, "    "+strings.TrimSpace(match+" "+m)+" return\n")
		}
	}
	if len(peers) == 0 {
		if target == nil && hasNamed(ports) { // egress to anyone, named port
			for _, p := range r.pods {
				add("ip daddr "+p.Status.PodIP, p)
			}
			return out, nil
		}
		add("", target)
		return out, nil
	}
	for _, peer := range peers {
		if b := peer.IPBlock; b != nil {
			if strings.Contains(b.CIDR, ":") {
				continue
			}
			m := "ip " + dir + " " + b.CIDR
			if len(b.Except) > 0 {
				m += " ip " + dir + " != { " + strings.Join(b.Except, ", ") + " }"
			}
			add(m, target)
			continue
		}
		ps, err := metav1.LabelSelectorAsSelector(orEverything(peer.PodSelector))
		if err != nil {
			return nil, err
		}
		var ns labels.Selector
		if peer.NamespaceSelector != nil {
			if ns, err = metav1.LabelSelectorAsSelector(peer.NamespaceSelector); err != nil {
				return nil, err
			}
		}
		var ips []string
		for _, p := range r.pods {
			if ns == nil && p.Namespace != np.Namespace || ns != nil && !ns.Matches(r.nsLabels[p.Namespace]) || !ps.Matches(labels.Set(p.Labels)) {
				continue
			}
			if target == nil && hasNamed(ports) {
				add("ip daddr "+p.Status.PodIP, p)
			} else {
				ips = append(ips, p.Status.PodIP)
			}
		}
		if len(ips) > 0 {
			add("ip "+dir+" { "+strings.Join(ips, ", ")+" }", target)
		}
	}
	return out, nil
}

func orEverything(s *metav1.LabelSelector) *metav1.LabelSelector {
	if s == nil {
		return &metav1.LabelSelector{}
	}
	return s
}

func hasNamed(ports []netv1.NetworkPolicyPort) bool {
	for _, p := range ports {
		if p.Port != nil && p.Port.Type == intstr.String {
			return true
		}
	}
	return false
}

func portMatches(ports []netv1.NetworkPolicyPort, to *corev1.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var out []string
	for _, p := range ports {
		proto := corev1.ProtocolTCP
		if p.Protocol != nil {
			proto = *p.Protocol
		}
		lp := strings.ToLower(string(proto))
		switch {
		case p.Port == nil:
			out = append(out, "meta l4proto "+lp)
		case p.Port.Type == intstr.String:
			if to == nil {
				continue
			}
			for _, c := range to.Spec.Containers {
				for _, cp := range c.Ports {
					if cp.Name == p.Port.StrVal && (cp.Protocol == proto || cp.Protocol == "" && proto == corev1.ProtocolTCP) {
						out = append(out, fmt.Sprintf("%s dport %d", lp, cp.ContainerPort))
					}
				}
			}
		case p.EndPort != nil:
			out = append(out, fmt.Sprintf("%s dport %d-%d", lp, p.Port.IntVal, *p.EndPort))
		default:
			out = append(out, fmt.Sprintf("%s dport %d", lp, p.Port.IntVal))
		}
	}
	return out
}
