{{- define "xebec.hosted" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
volumes:
- name: pki
  secret:
    secretName: {{ .Values.controlPlane.secret }}
    defaultMode: 0440
- name: tmp
  emptyDir: {}
{{- end -}}

{{- define "xebec.hostedContainer" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
- mountPath: /pki
  name: pki
  readOnly: true
- mountPath: /tmp
  name: tmp
{{- end -}}

{{- define "xebec.hostedComponent" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .root.Release.Name }}-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "xebec.labels" .root | nindent 4 }}
spec:
  replicas: {{ .root.Values.controlPlane.replicas }}
  selector:
    matchLabels:
      app: {{ .root.Release.Name }}-{{ .name }}
  template:
    metadata:
      labels:
        app: {{ .root.Release.Name }}-{{ .name }}
    spec:
      {{- include "xebec.hosted" .root | nindent 6 }}
      containers:
      - name: kube-{{ .name }}
        image: {{ printf "%s/kube-%s:%s" .root.Values.imageRepository .name .root.Values.controlPlane.tag }}
        imagePullPolicy: {{ .root.Values.imagePullPolicy }}
        command:
        - kube-{{ .name }}
        - --leader-elect=true
        - --kubeconfig=/pki/{{ .name }}.conf
        - --authentication-kubeconfig=/pki/{{ .name }}.conf
        - --authorization-kubeconfig=/pki/{{ .name }}.conf
        {{- range .args }}
        - {{ . | quote }}
        {{- end }}
        {{- range .extra }}
        - {{ . | quote }}
        {{- end }}
        ports:
        - containerPort: {{ .port }}
          name: https
        livenessProbe:
          httpGet:
            path: {{ .live }}
            port: https
            scheme: HTTPS
          initialDelaySeconds: 15
          failureThreshold: 8
        readinessProbe:
          httpGet:
            path: {{ .ready }}
            port: https
            scheme: HTTPS
          periodSeconds: 2
        {{- include "xebec.hostedContainer" .root | nindent 8 }}
{{- end -}}
