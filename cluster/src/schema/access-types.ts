/**
 * Structure of rbac.authorization.k8s.io/v1, authentication.k8s.io/v1 and authorization.k8s.io/v1.
 * The notation is explained in notation.ts; the names are those of the Kubernetes API.
 */

export const accessTypes = `
AggregationRule: clusterRoleSelectors@1:[LabelSelector]
ClusterRole: aggregationRule@3:AggregationRule? metadata@1:ObjectMeta rules@2:[PolicyRule]
ClusterRoleBinding: metadata@1:ObjectMeta roleRef@3!:RoleRef subjects@2:[Subject]
PolicyRule: apiGroups@2:[] nonResourceURLs@5:[] resourceNames@4:[] resources@3:[] verbs@1!:[]
Role: metadata@1:ObjectMeta rules@2:[PolicyRule]
RoleBinding: metadata@1:ObjectMeta roleRef@3!:RoleRef subjects@2:[Subject]
RoleRef(atomic): apiGroup@1! kind@2! name@3!
Subject(atomic): apiGroup@2 kind@1! name@3! namespace@4
BoundObjectReference: apiVersion@2 kind@1 name@3 uid@4
SelfSubjectReview: metadata@1:ObjectMeta status@2:SelfSubjectReviewStatus
SelfSubjectReviewStatus: userInfo@1:UserInfo
TokenRequest: metadata@1:ObjectMeta spec@2!:TokenRequestSpec status@3:TokenRequestStatus
TokenRequestSpec: audiences@1!:[] boundObjectRef@3:BoundObjectReference? expirationSeconds@4:int64?
TokenRequestStatus: expirationTimestamp@2:time token@1
TokenReview: metadata@1:ObjectMeta spec@2!:TokenReviewSpec status@3:TokenReviewStatus
TokenReviewSpec: audiences@2:[] token@1
TokenReviewStatus: audiences@4:[] authenticated@1:bool error@3 user@2:UserInfo
UserInfo: extra@4:{[]} groups@3:[] uid@2 username@1
LocalSubjectAccessReview: metadata@1:ObjectMeta spec@2!:SubjectAccessReviewSpec status@3:SubjectAccessReviewStatus
NonResourceAttributes: path@1 verb@2
NonResourceRule: nonResourceURLs@2:[] verbs@1!:[]
ResourceAttributes: fieldSelector@8:any group@3 labelSelector@9:any name@7 namespace@1 resource@5 subresource@6
  verb@2 version@4
ResourceRule: apiGroups@2:[] resourceNames@4:[] resources@3:[] verbs@1!:[]
SelfSubjectAccessReview: metadata@1:ObjectMeta spec@2!:SelfSubjectAccessReviewSpec
  status@3:SubjectAccessReviewStatus
SelfSubjectAccessReviewSpec: nonResourceAttributes@2:NonResourceAttributes? resourceAttributes@1:ResourceAttributes?
SelfSubjectRulesReview: metadata@1:ObjectMeta spec@2!:SelfSubjectRulesReviewSpec status@3:SubjectRulesReviewStatus
SelfSubjectRulesReviewSpec: namespace@1
SubjectAccessReview: metadata@1:ObjectMeta spec@2!:SubjectAccessReviewSpec status@3:SubjectAccessReviewStatus
SubjectAccessReviewSpec: extra@5:{[]} groups@4:[] nonResourceAttributes@2:NonResourceAttributes?
  resourceAttributes@1:ResourceAttributes? uid@6 user@3
SubjectAccessReviewStatus: allowed@1:bool denied@4:bool evaluationError@3 reason@2
SubjectRulesReviewStatus: evaluationError@4 incomplete@3:bool nonResourceRules@2:[NonResourceRule]
  resourceRules@1:[ResourceRule]
`;
