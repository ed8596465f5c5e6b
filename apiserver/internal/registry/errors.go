package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

type corruptError struct {
	res *scheme.Resource
	o   *storage.Object
	err error
}

func (e *corruptError) Error() string {
	return fmt.Sprintf("stored %s %s/%s at revision %d can't be decoded: %v", e.res.Plural, e.o.Namespace, e.o.Name, e.o.Revision, e.err)
}

func (e *corruptError) Unwrap() error { return e.err }

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// etcdTooLarge is what etcd says of a value over its --max-request-bytes.
const etcdTooLarge = "etcdserver: request is too large"

// unknownOutcome is the status of a write that etcd did not answer.
type unknownOutcome struct{ *apierrors.StatusError }

func (unknownOutcome) Unwrap() error { return storage.ErrUnknown }

// Status turns a storage error into the API status it means for the object.
// API statuses and nil pass through. What is storage.ErrUnknown stays it.
func Status(err error, gr schema.GroupResource, name string) error {
	s := statusOf(err, gr, name)
	var plain *apierrors.StatusError
	if errors.Is(err, storage.ErrUnknown) && errors.As(s, &plain) {
		return unknownOutcome{plain}
	}
	return s
}

func statusOf(err error, gr schema.GroupResource, name string) error {
	var status apierrors.APIStatus
	var conflict *storage.Conflict
	var large *storage.TooLargeRevision
	var page *storage.ExpiredContinue
	switch {
	case err == nil:
		return nil
	case errors.As(err, &status):
		return err
	case errors.Is(err, storage.ErrNotFound):
		return apierrors.NewNotFound(gr, name)
	case errors.As(err, &conflict):
		if conflict.Current == nil {
			return apierrors.NewNotFound(gr, name)
		}
		return apierrors.NewConflict(gr, name, errModified)
	case errors.As(err, &large):
		return tooLargeRevision(large)
	case errors.As(err, &page):
		return expiredContinue(page)
	case errors.Is(err, storage.ErrExpired):
		return apierrors.NewResourceExpired(expiredText(err))
	case errors.Is(err, storage.ErrInvalidContinue):
		return apierrors.NewBadRequest("invalid continue token: " + err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return apierrors.NewTimeoutError("the server was unable to return a response in the time allotted, but may still be processing the request", 0)
	case errors.Is(err, storage.ErrUnknown):
		// Without a time to wait: clients that are told one send the request again
		// by themselves, and a write that was done is done twice, or is told as
		// failed.
		return apierrors.NewTimeoutError("etcd did not say whether the write was done: read the object again before you repeat it: "+err.Error(), 0)
	case strings.Contains(err.Error(), etcdTooLarge):
		return plain500(etcdTooLarge) // Kubernetes passes it on as it is
	case errors.Is(err, storage.ErrClosed):
		e := apierrors.NewServiceUnavailable("the API server is shutting down")
		e.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
		return e
	}
	return apierrors.NewInternalError(err)
}

func expiredText(err error) string {
	if err == storage.ErrExpired {
		return "The resourceVersion for the provided watch is too old."
	}
	return err.Error()
}

func tooLargeRevision(e *storage.TooLargeRevision) error {
	err := apierrors.NewTimeoutError(e.Error(), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return err
}

func expiredContinue(e *storage.ExpiredContinue) error {
	err := apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
	err.ErrStatus.ListMeta.Continue = e.Continue
	return err
}

// plain500 is an internal error without a reason, as Kubernetes gives for
// some bad input.
func plain500(format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: fmt.Sprintf(format, args...),
	}}
}
