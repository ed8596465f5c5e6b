// Package v1 has the types of apiregistration.k8s.io/v1. Names, JSON members
// and protobuf numbers are the API's.
//
// +k8s:openapi-gen=true
// +k8s:openapi-model-package=io.k8s.kube-aggregator.pkg.apis.apiregistration.v1
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the package's types.
var GroupVersion = schema.GroupVersion{Group: "apiregistration.k8s.io", Version: "v1"}

// AddToScheme registers the package's types.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &APIService{}, &APIServiceList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

const modelPackage = "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1."

// OpenAPIModelName is how OpenAPI documents call the type.
func (APIService) OpenAPIModelName() string { return modelPackage + "APIService" }

// OpenAPIModelName is how OpenAPI documents call the type.
func (APIServiceList) OpenAPIModelName() string { return modelPackage + "APIServiceList" }

// OpenAPIModelName is how OpenAPI documents call the type.
func (APIServiceSpec) OpenAPIModelName() string { return modelPackage + "APIServiceSpec" }

// OpenAPIModelName is how OpenAPI documents call the type.
func (APIServiceStatus) OpenAPIModelName() string { return modelPackage + "APIServiceStatus" }

// OpenAPIModelName is how OpenAPI documents call the type.
func (APIServiceCondition) OpenAPIModelName() string { return modelPackage + "APIServiceCondition" }

// OpenAPIModelName is how OpenAPI documents call the type.
func (ServiceReference) OpenAPIModelName() string { return modelPackage + "ServiceReference" }
