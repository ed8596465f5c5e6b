package rest

import (
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/decode"
	"xebec.dev/apiserver/internal/encode"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
)

// resource carries out a verb on a resource.
func (h *Handler) resource(w http.ResponseWriter, r *http.Request, t registry.Target, req *request.Request) error {
	if !allows(&t, req.Verb) {
		if req.Verb == "watch" {
			return apierrors.NewMethodNotSupported(t.GroupResource(), "watch")
		}
		return errNoMethod
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if query.Has("export") && (req.Verb == "get" || req.Verb == "list") {
		return apierrors.NewBadRequest("the export parameter, deprecated since v1.14, is no longer supported")
	}
	x := &exchange{Handler: h, w: w, r: r, t: t, query: query, agent: req.UserAgent}
	switch req.Verb {
	case "get":
		return x.get()
	case "list":
		return x.list()
	case "watch":
		return x.watch()
	case "create":
		return x.create()
	case "update":
		return x.update()
	case "patch":
		return x.patch()
	case "delete":
		return x.delete()
	case "deletecollection":
		return x.deleteCollection()
	}
	return errNoMethod
}

// allows reports whether the resource or subresource has the verb.
func allows(t *registry.Target, verb string) bool {
	if t.Subresource == "" {
		if t.Name == "" && (verb == "update" || verb == "patch") || t.Name != "" && verb == "create" {
			return false
		}
		return t.Can(verb)
	}
	for _, v := range t.Served.Subresource(t.Subresource).Verbs {
		if v == verb {
			return true
		}
	}
	// Kubernetes answers GET wherever there is something to patch.
	return false
}

// exchange is one request and its answer.
type exchange struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	t     registry.Target
	query url.Values
	agent string
}

func (x *exchange) negotiate(e encode.Endpoint) (encode.Format, error) {
	e.Transforms = true
	f, err := encode.Negotiate(x.r.Header.Get("Accept"), e)
	if err != nil {
		return f, err
	}
	f.Pretty = encode.PrettyFor(x.query["pretty"], x.agent)
	if f.Shape == encode.Table {
		f.Include, err = encode.ParseInclude(x.query.Get("includeObject"))
	}
	return f, err
}

func (x *exchange) get() error {
	f, err := x.negotiate(encode.Endpoint{})
	if err != nil {
		return err
	}
	if x.t.Subresource == "scale" {
		scale, err := x.Registry.GetScale(x.r.Context(), x.t)
		if err != nil {
			return err
		}
		writeAny(x.w, x.r, f, http.StatusOK, scale)
		return nil
	}
	o, err := x.Registry.Get(x.r.Context(), x.t, x.query.Get("resourceVersion"))
	if err != nil {
		return err
	}
	return x.writeObject(x.w, x.r, &x.t, f, http.StatusOK, o)
}

func (x *exchange) list() error {
	f, err := x.negotiate(encode.Endpoint{Collection: true})
	if err != nil {
		return err
	}
	o, err := listOptions(x.query)
	if err != nil {
		return err
	}
	x.t.Name = ""
	l, err := x.Registry.List(x.r.Context(), x.t, o)
	if err != nil {
		return err
	}
	return x.writeList(f, l)
}

func (x *exchange) create() error {
	f, err := x.negotiate(encode.Endpoint{})
	if err != nil {
		return err
	}
	o, err := createOptions(x.query, x.agent)
	if err != nil {
		return err
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	ctx := x.r.Context()
	contentType := x.r.Header.Get("Content-Type")
	if kind := registry.BodyKind(x.t.Subresource); kind != nil {
		obj := kind.New()
		warnings, err := decode.Into(obj, bodyTarget(kind), contentType, body, o.FieldValidation)
		if err != nil {
			return err
		}
		warnAll(ctx, warnings)
		res, err := x.Registry.CreateSubresource(ctx, x.t, obj, o)
		if err != nil {
			return err
		}
		return x.writeResult(x.w, x.r, &x.t, f, res)
	}
	obj, warnings, err := decode.Body(x.t.Served, contentType, body, o.FieldValidation)
	if err != nil {
		return err
	}
	warnAll(ctx, warnings)
	stored, ok := obj.(scheme.Object)
	if x.t.StoragePrefix == "" || !ok {
		res, err := x.Registry.Review(ctx, x.t, obj, o)
		if err != nil {
			return err
		}
		return x.writeResult(x.w, x.r, &x.t, f, res)
	}
	res, err := x.Registry.Create(ctx, x.t, stored, o)
	if err != nil {
		return err
	}
	return x.writeResult(x.w, x.r, &x.t, f, res)
}

func (x *exchange) update() error {
	f, err := x.negotiate(encode.Endpoint{})
	if err != nil {
		return err
	}
	o, err := updateOptions(x.query, x.agent)
	if err != nil {
		return err
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	ctx := x.r.Context()
	contentType := x.r.Header.Get("Content-Type")
	if x.t.Subresource == "scale" {
		kind := registry.BodyKind(x.t.Subresource)
		obj := kind.New()
		warnings, err := decode.Into(obj, bodyTarget(kind), contentType, body, o.FieldValidation)
		if err != nil {
			return err
		}
		warnAll(ctx, warnings)
		scale, err := x.Registry.UpdateScale(ctx, x.t, obj, o)
		if err != nil {
			return err
		}
		writeAny(x.w, x.r, f, http.StatusOK, scale)
		return nil
	}
	obj, warnings, err := decode.Body(x.t.Served, contentType, body, o.FieldValidation)
	if err != nil {
		return err
	}
	warnAll(ctx, warnings)
	res, err := x.Registry.Update(ctx, x.t, obj.(scheme.Object), o)
	if err != nil {
		return err
	}
	return x.writeResult(x.w, x.r, &x.t, f, res)
}

func (x *exchange) patch() error {
	f, err := x.negotiate(encode.Endpoint{})
	if err != nil {
		return err
	}
	kind, err := patchType(x.r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	o := &metav1.PatchOptions{}
	if err := decodeQuery(x.query, o); err != nil {
		return err
	}
	if err := invalidOptions("PatchOptions", metavalidation.ValidatePatchOptions(o, kind)); err != nil {
		return err
	}
	if q := request.From(x.r.Context()); q != nil {
		q.Apply = kind == types.ApplyPatchType
	}
	if kind != types.ApplyPatchType {
		o.FieldManager = managerName(o.FieldManager, x.agent)
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	if x.t.Subresource == "scale" {
		scale, err := x.Registry.PatchScale(x.r.Context(), x.t, kind, body, o)
		if err != nil {
			return err
		}
		writeAny(x.w, x.r, f, http.StatusOK, scale)
		return nil
	}
	res, err := x.Registry.Patch(x.r.Context(), x.t, kind, body, o)
	if err != nil {
		return err
	}
	return x.writeResult(x.w, x.r, &x.t, f, res)
}

func (x *exchange) delete() error {
	f, err := x.negotiate(encode.Endpoint{})
	if err != nil {
		return err
	}
	o, err := x.deleteOptions()
	if err != nil {
		return err
	}
	res, err := x.Registry.Delete(x.r.Context(), x.t, o)
	if err != nil {
		return err
	}
	return x.writeResult(x.w, x.r, &x.t, f, res)
}

// deleteOptions come from the body; the query counts only without one.
func (x *exchange) deleteOptions() (*metav1.DeleteOptions, error) {
	body, err := x.readBody()
	if err != nil {
		return nil, err
	}
	if len(body) > 0 {
		return decode.DeleteOptions(x.r.Header.Get("Content-Type"), body)
	}
	o := &metav1.DeleteOptions{}
	return o, decodeQuery(x.query, o)
}

func (x *exchange) deleteCollection() error {
	f, err := x.negotiate(encode.Endpoint{Collection: true})
	if err != nil {
		return err
	}
	lo, err := listOptions(x.query)
	if err != nil {
		return err
	}
	o, err := x.deleteOptions()
	if err != nil {
		return err
	}
	l, err := x.Registry.DeleteCollection(x.r.Context(), x.t, o, lo)
	if err != nil {
		return err
	}
	return x.writeList(f, l)
}
