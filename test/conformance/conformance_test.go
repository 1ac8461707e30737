// The Gateway API's own conformance tests of a mesh, against the cluster of the kubeconfig: both mesh profiles with every
// feature that a mesh can claim. See README.md.
package conformance

import (
	"slices"
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// What tests of a mesh ask for beside the features that are a mesh's own.
var routeFeatures = []features.FeatureName{
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
}

func TestMesh(t *testing.T) {
	options := conformance.DefaultOptions(t)
	options.ConformanceProfiles.Insert(suite.MeshHTTPConformanceProfileName, suite.MeshGRPCConformanceProfileName)
	options.SupportedFeatures = features.SetsToNamesSet(features.MeshExtendedFeatures).Insert(routeFeatures...)
	options.NamespaceAnnotations = map[string]string{"linkerd.io/inject": "enabled"}

	// In 1.5.1 this test applies the manifest of the 303 redirect.
	redirect := slices.IndexFunc(tests.ConformanceTests, func(test suite.ConformanceTest) bool {
		return test.ShortName == "MeshHTTPRoute307Redirect"
	})
	tests.ConformanceTests[redirect].Manifests = []string{"tests/mesh/httproute-307-redirect.yaml"}

	conformance.RunConformanceWithOptions(t, options)
}
