// Package table has the columns and cells of the Table form that many kinds
// share: names, ages, label selectors, "<none>".
package table

import (
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

var metaDoc = metav1.ObjectMeta{}.SwaggerDoc()

// Documented is an API type that knows the descriptions of its fields.
type Documented interface{ SwaggerDoc() map[string]string }

// Name is the first column of every kind.
func Name() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Name", Type: "string", Format: "name", Description: metaDoc["name"]}
}

// Age is the column of the time since creation.
func Age() metav1.TableColumnDefinition {
	return String("Age", metaDoc["creationTimestamp"])
}

// Created is the column of the time of creation itself.
func Created() metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: "Created At", Type: "date", Description: metaDoc["creationTimestamp"]}
}

// String is a column of text.
func String(name, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: "string", Description: description}
}

// Typed is a column of another JSON type: "integer", "boolean".
func Typed(name, kind, description string) metav1.TableColumnDefinition {
	return metav1.TableColumnDefinition{Name: name, Type: kind, Description: description}
}

// Field is a column of text described as the API describes the field.
func Field(name string, of Documented, field string) metav1.TableColumnDefinition {
	return String(name, of.SwaggerDoc()[field])
}

// TypedField is Field with another JSON type.
func TypedField(name, kind string, of Documented, field string) metav1.TableColumnDefinition {
	return Typed(name, kind, of.SwaggerDoc()[field])
}

// Spelled begins a description with the Go name of the field: that is how
// Kubernetes 1.36 worded columns, and 1.37 only respelled the name.
func Spelled(description, name string) string {
	if len(description) < len(name) || !strings.EqualFold(description[:len(name)], name) {
		return description
	}
	return name + description[len(name):]
}

// Wide makes a column that is shown only on demand (kubectl -o wide).
func Wide(c metav1.TableColumnDefinition) metav1.TableColumnDefinition {
	c.Priority = 1
	return c
}

// Since is the cell of an age: "3d4h", or "<unknown>" when t is zero.
func Since(t, now metav1.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// OrNone is s, or "<none>" when it is empty.
func OrNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

// Selector is the cell of a label selector, "<none>" when it selects all.
func Selector(s *metav1.LabelSelector) string { return metav1.FormatLabelSelector(s) }

// Join lists the first max of the items and how many more there are.
func Join(items []string, max int) string {
	if len(items) <= max {
		return strings.Join(items, ",")
	}
	return strings.Join(items[:max], ",") + " + " + strconv.Itoa(len(items)-max) + " more..."
}
