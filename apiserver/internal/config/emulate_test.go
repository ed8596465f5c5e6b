package config

import "testing"

func TestCheckEmulated(t *testing.T) {
	for v, ok := range map[string]bool{"1.37": true, "kube=1.37": true, "v1.37": true, "kube=1.37.0": true, "1.36": false, "kube=1.3": false, "1.370": false, "wardle=1.2": false, "": false, "kube=": false} {
		if err := checkEmulated([]string{v}); (err == nil) != ok {
			t.Errorf("%q: %v", v, err)
		}
	}
	if err := checkEmulated(nil); err != nil {
		t.Error(err)
	}
}
