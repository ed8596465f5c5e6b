// Command peer is the server that the benchmarks measure against: upstream's
// generic API server library serving Pods, with its registry store, its watch
// cache, protobuf storage, client certificates and managed fields.
//
// It does less per request than a kube-apiserver: it has no defaulting,
// validation or admission of Pods (upstream keeps those in k8s.io/kubernetes),
// its authorizer allows everything, and priority and fairness are off.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	apiopenapi "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/util/compatibility"
)

type flags struct {
	etcd, prefix      string
	cert, key, client string
	port              int
}

func main() {
	var f flags
	pflag.StringVar(&f.etcd, "etcd-servers", "", "etcd, scheme://ip:port")
	pflag.StringVar(&f.prefix, "etcd-prefix", "/registry", "prefix of keys")
	pflag.StringVar(&f.cert, "tls-cert-file", "", "serving certificate")
	pflag.StringVar(&f.key, "tls-private-key-file", "", "its key")
	pflag.StringVar(&f.client, "client-ca-file", "", "authority of client certificates")
	pflag.IntVar(&f.port, "secure-port", 0, "port")
	pflag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, f); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, f flags) error {
	scheme, codecs := newScheme()
	config, err := configure(f, scheme, codecs)
	if err != nil {
		return err
	}
	s, err := config.Complete().New("peer", server.NewEmptyDelegate())
	if err != nil {
		return err
	}
	pods, err := newPods(scheme, config.RESTOptionsGetter)
	if err != nil {
		return err
	}
	group := server.NewDefaultAPIGroupInfo("", scheme, metav1.ParameterCodec, codecs)
	group.PrioritizedVersions = []schema.GroupVersion{corev1.SchemeGroupVersion}
	group.VersionedResourcesStorageMap["v1"] = map[string]rest.Storage{"pods": pods}
	if err := s.InstallLegacyAPIGroup("/api", &group); err != nil {
		return err
	}
	return s.PrepareRun().RunWithContext(ctx)
}

// newScheme has the v1 structs stand for the internal version too, which
// spares this server the conversions of a kube-apiserver.
func newScheme() (*runtime.Scheme, serializer.CodecFactory) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	internal := schema.GroupVersion{Version: runtime.APIVersionInternal}
	scheme.AddKnownTypes(internal, &corev1.Pod{}, &corev1.PodList{})
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return scheme, serializer.NewCodecFactory(scheme, serializer.WithStreamingCollectionEncodingToJSON(), serializer.WithStreamingCollectionEncodingToProtobuf())
}

func configure(f flags, scheme *runtime.Scheme, codecs serializer.CodecFactory) (*server.RecommendedConfig, error) {
	config := server.NewRecommendedConfig(codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	namer := apiopenapi.NewDefinitionNamer(scheme)
	config.OpenAPIConfig = server.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = server.DefaultOpenAPIV3Config(definitions, namer)
	config.SkipOpenAPIInstallation = true

	serving := options.NewSecureServingOptions().WithLoopback()
	serving.BindAddress, serving.BindPort = net.IPv4(127, 0, 0, 1), f.port
	serving.ServerCert.CertKey = options.CertKey{CertFile: f.cert, KeyFile: f.key}
	if err := serving.ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return nil, err
	}
	clients, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", f.client)
	if err != nil {
		return nil, err
	}
	if err := config.Authentication.ApplyClientCert(clients, config.SecureServing); err != nil {
		return nil, err
	}
	authentication := authenticatorfactory.DelegatingAuthenticatorConfig{ClientCertificateCAContentProvider: clients}
	if config.Authentication.Authenticator, _, err = authentication.New(); err != nil {
		return nil, err
	}
	config.Authorization.Authorizer = authorizerfactory.NewAlwaysAllowAuthorizer()

	etcd := options.NewEtcdOptions(storagebackend.NewDefaultConfig(f.prefix, codecs.LegacyCodec(corev1.SchemeGroupVersion)))
	etcd.DefaultStorageMediaType = runtime.ContentTypeProtobuf
	etcd.StorageConfig.Codec = storageCodec(codecs)
	etcd.StorageConfig.Transport.ServerList = []string{f.etcd}
	return config, etcd.ApplyTo(&config.Config)
}

func storageCodec(codecs serializer.CodecFactory) runtime.Codec {
	info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		panic("no protobuf serializer")
	}
	version := corev1.SchemeGroupVersion
	return codecs.CodecForVersions(info.Serializer, codecs.UniversalDeserializer(), version, runtime.InternalGroupVersioner)
}
