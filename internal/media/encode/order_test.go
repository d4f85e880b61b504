package encode

import (
	"fmt"
	"testing"
)

func TestReorder(t *testing.T) {
	for order, want := range map[string]string{
		"":         "[]",
		"FL+FR+FC": "[pan=FL+FR+FC|FL=0.99999999*c0|FR=0.99999999*c1|FC=0.99999999*c2]",
		"FC+FL+FR": "[pan=FL+FR+FC|FL=0.99999999*c1|FR=0.99999999*c2|FC=0.99999999*c0]",
	} {
		if got := fmt.Sprint(reorder(order)); got != want {
			t.Errorf("%s: got %s, want %s", order, got, want)
		}
	}
}
